package main

import (
	"os/exec"
	"syscall"
)

// orphan makes the child end with the driver, however that ends.
func orphan(cmd *exec.Cmd) { cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} }
