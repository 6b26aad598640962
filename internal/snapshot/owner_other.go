//go:build !unix

package snapshot

import "os"

func foreignOwner(os.FileInfo) error { return nil }
