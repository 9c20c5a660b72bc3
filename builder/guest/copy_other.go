//go:build !linux

package guest

import (
	"context"
	"errors"
	"os"
)

// share is not there on this system.
func share(_, _ *os.File) error { return errors.ErrUnsupported }

// copyRanges is not there on this system.
func copyRanges(context.Context, *os.File, *os.File) error { return errors.ErrUnsupported }
