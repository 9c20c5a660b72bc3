// Package slot describes the two bootable copies of the system on a disk, A
// and B, in the forms in which a boot loader finds them.
//
// By UEFI, systemd-boot reads one text file per slot and keeps the count of
// boot attempts in the file's name. By BIOS, weft's own loader reads one
// sector, the slot record, and keeps the count in it; so does weft's boot
// stage, which starts the slots of a Raspberry Pi. All follow the same
// rule: the wanted slot is tried a few times, init blesses it once the system
// works, and a slot that never got that far loses to the other.
//
// The package computes names, texts and bytes. It writes no boot partition
// and copies no kernel, and it is small because init links it.
package slot

import "fmt"

// A Name names one of the two slots.
type Name string

// The slots.
const (
	A Name = "a"
	B Name = "b"
)

// DefaultTries is how many boots a new slot gets to prove itself.
const DefaultTries = 3

// Parse returns the slot called s, as the kernel argument weft.slot gives it.
func Parse(s string) (Name, error) {
	switch n := Name(s); n {
	case A, B:
		return n, nil
	}
	return "", fmt.Errorf("slot %q: there are only slots a and b", s)
}

// Other returns the slot that n is not.
func (n Name) Other() Name {
	if n == A {
		return B
	}
	return A
}

// Kernel returns the path of the slot's kernel on the boot partition.
func (n Name) Kernel() string { return "/weft/" + string(n) + "/vmlinuz" }

// Initrd returns the path of the slot's initramfs on the boot partition.
func (n Name) Initrd() string { return "/weft/" + string(n) + "/initrd" }

// CommandLine returns the path on the boot partition of the slot's kernel
// arguments, one line of text, where the boot stage starts it.
func (n Name) CommandLine() string { return "/weft/" + string(n) + "/cmdline.txt" }

// StageDir is the folder on the boot partition of the boot stage: a kernel, an
// initramfs and a command line under the names that a slot's have.
const StageDir = "/weft/boot"
