package profiles

// Files of the root that the builder writes and init reads, and the names of
// the kernel arguments they meet in.
const (
	// SystemFile describes the image, as JSON.
	SystemFile = "/etc/weft/system.json"
	// ProfileFile is the resolved profile, as YAML.
	ProfileFile = "/etc/weft/profile.yaml"

	// ArgRoot names the root partition: root=PARTUUID=…
	ArgRoot = "root"
	// ArgSlot is the slot that was chosen: weft.slot=a
	ArgSlot = "weft.slot"
	// ArgBoot names the boot partition: weft.boot=PARTUUID=…
	ArgBoot = "weft.boot"
	// ArgData names the data partition: weft.data=PARTUUID=…
	ArgData = "weft.data"
	// ArgStage makes init the boot stage, which starts a slot: weft.stage
	ArgStage = "weft.stage"
	// ArgRecord says that the boot stage has started the slot, and where the
	// slot record is: weft.record=gap
	ArgRecord = "weft.record"
	// RecordInGap is the one value of ArgRecord: between the table of the disk
	// that has the boot partition, and that disk's first partition.
	RecordInGap = "gap"
	// OpenTimeout is the kernel's own: for how many seconds it pets a
	// watchdog that was running already, until a program does
	// (Documentation/watchdog/watchdog-parameters.rst). The boot stage gives it
	// to the slot, whose init opens the watchdog as the first thing it does in
	// its root, and has given up a root that did not come by then.
	OpenTimeout = "watchdog.open_timeout=120"
)

// System describes an image to the node that runs it.
type System struct {
	// Version is weft's version.
	Version string `json:"version"`
	// ID names the image: it is derived from everything the image was built
	// from, so equal ids mean equal bytes.
	ID string `json:"id"`
	// Epoch is the image's one timestamp, in seconds since 1970; also the
	// earliest time a node's clock may show.
	Epoch int64 `json:"epoch"`
	// Board and Profile are the names of what was built.
	Board   string `json:"board"`
	Profile string `json:"profile"`
	// Arch is the Debian architecture.
	Arch string `json:"arch"`
	// Kernel is the kernel release, as uname -r prints it.
	Kernel string `json:"kernel"`
	// Trees are the files of the device trees of the machines that the image
	// is for; none where machines have none.
	Trees []string `json:"trees,omitempty"`
}
