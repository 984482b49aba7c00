//go:build !go1.26 || go1.29

package weir

import "context"

func withLabels(ctx context.Context, f func()) { withLabelsApart(ctx, f) }
