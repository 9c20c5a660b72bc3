package builder

import (
	"context"

	"weft/builder/payload"
)

// payloads fetches what the profile names by path or URL. A Kubernetes without
// its program is refused here: the image would boot and never be a node.
func (o Options) payloads(ctx context.Context) ([]payload.File, error) {
	p, arch := o.Plan.Profile, o.Plan.Board.Arch
	items, problems := payload.Items(p, arch, o.Plan.ProfileProblem)
	problems = append(problems, payload.Missing(p, arch, o.Plan.ProfileProblem)...)
	if err := problems.Errors(); err != nil {
		problems.Sort()
		return nil, problems
	}
	if len(items) == 0 {
		return nil, nil
	}
	store := o.Payloads
	if store == nil {
		store = &payload.Store{}
	}
	return store.All(ctx, items, o.Plan.ProfileFolder, o.Plan.ProfileProblem)
}
