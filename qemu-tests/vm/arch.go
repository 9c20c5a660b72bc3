package vm

// arch is what differs between the architectures a guest can have.
type arch struct {
	// program is QEMU's, and programPackage Debian's package of it.
	program, programPackage string
	// machine, cpu and firmware are the defaults.
	machine, cpu string
	firmware     Firmware
	// firmwareFiles is where distributions put UEFI firmware, in the order
	// of preference, and firmwarePackage Debian's package of it.
	firmwareFiles   []firmwarePair
	firmwarePackage string
}

// arches are the architectures this package runs.
//
// -cx16 on amd64: QEMU 7.2 under software emulation corrupts the guest's
// flags around CMPXCHG16B, and Debian's 6.12 kernel then dies at random on a
// busy host (23 of 30 boots; none of 80 without cx16). The rest of max stays:
// without RDRAND a guest waits minutes for randomness.
var arches = map[string]arch{
	"amd64": {
		program: "qemu-system-x86_64", programPackage: "qemu-system-x86",
		machine: "q35", cpu: "max,-cx16",
		firmware: BIOS, firmwarePackage: "ovmf",
		firmwareFiles: []firmwarePair{
			// Debian, Ubuntu.
			{"/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"},
			{"/usr/share/OVMF/OVMF_CODE.fd", "/usr/share/OVMF/OVMF_VARS.fd"},
			// Fedora, RHEL.
			{"/usr/share/edk2/ovmf/OVMF_CODE.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"},
			// Arch Linux.
			{"/usr/share/edk2/x64/OVMF_CODE.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"},
			{"/usr/share/edk2-ovmf/x64/OVMF_CODE.fd", "/usr/share/edk2-ovmf/x64/OVMF_VARS.fd"},
			// openSUSE.
			{"/usr/share/qemu/ovmf-x86_64-4m-code.bin", "/usr/share/qemu/ovmf-x86_64-4m-vars.bin"},
			{"/usr/share/qemu/ovmf-x86_64-code.bin", "/usr/share/qemu/ovmf-x86_64-vars.bin"},
			// QEMU's own, as Alpine, Homebrew and MacPorts install it.
			{"/usr/share/qemu/edk2-x86_64-code.fd", "/usr/share/qemu/edk2-i386-vars.fd"},
			{"/opt/homebrew/share/qemu/edk2-x86_64-code.fd", "/opt/homebrew/share/qemu/edk2-i386-vars.fd"},
			{"/usr/local/share/qemu/edk2-x86_64-code.fd", "/usr/local/share/qemu/edk2-i386-vars.fd"},
			{"/opt/local/share/qemu/edk2-x86_64-code.fd", "/opt/local/share/qemu/edk2-i386-vars.fd"},
		},
	},
	"arm64": {
		program: "qemu-system-aarch64", programPackage: "qemu-system-arm",
		machine: "virt", cpu: "cortex-a72",
		firmware: UEFI, firmwarePackage: "qemu-efi-aarch64",
		firmwareFiles: []firmwarePair{
			{"/usr/share/AAVMF/AAVMF_CODE.fd", "/usr/share/AAVMF/AAVMF_VARS.fd"},
			{"/usr/share/edk2/aarch64/QEMU_EFI-pflash.raw", "/usr/share/edk2/aarch64/vars-template-pflash.raw"},
			{"/usr/share/edk2/aarch64/QEMU_CODE.fd", "/usr/share/edk2/aarch64/QEMU_VARS.fd"},
			{"/usr/share/qemu/aavmf-aarch64-code.bin", "/usr/share/qemu/aavmf-aarch64-vars.bin"},
			{"/usr/share/qemu/edk2-aarch64-code.fd", "/usr/share/qemu/edk2-arm-vars.fd"},
			{"/opt/homebrew/share/qemu/edk2-aarch64-code.fd", "/opt/homebrew/share/qemu/edk2-arm-vars.fd"},
			{"/usr/local/share/qemu/edk2-aarch64-code.fd", "/usr/local/share/qemu/edk2-arm-vars.fd"},
			{"/opt/local/share/qemu/edk2-aarch64-code.fd", "/opt/local/share/qemu/edk2-arm-vars.fd"},
		},
	},
}
