package main

import (
	"fmt"
	"runtime"
	"runtime/debug"
)

// version is set by the linker for release builds
// (-ldflags "-X main.version=v1.2.3"); otherwise the build information says.
var version string

type versionCmd struct{}

func (versionCmd) Run(p *program) error {
	_, err := fmt.Fprintf(p.stdout, "quash %s %s %s/%s\n", buildVersion(), runtime.Version(), runtime.GOOS, runtime.GOARCH)
	return err
}

func buildVersion() string {
	if version != "" {
		return version
	}
	info, ok := debug.ReadBuildInfo()
	if !ok || info.Main.Version == "" {
		return "unknown"
	}
	return info.Main.Version
}
