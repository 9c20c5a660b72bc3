package image_test

import (
	"weft/builder/apt"
	"weft/builder/buildtest"
	"weft/builder/plan"
)

// requestKernel asks for the kernel of the cloud board alone.
var requestKernel = apt.Request{Suite: "trixie", Arch: "amd64", Kernel: "linux-image-cloud-amd64"}

// plan is the plan of the image.
func (o opened) plan() plan.Plan {
	o.Helper()
	return buildtest.Plan(o.T, o.System.Board, o.System.Profile)
}
