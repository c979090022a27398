package main

import "syscall"

// childAttributes has the kernel kill a child whose parent is gone, however that ended. A process group of its own
// keeps a terminal's Ctrl-C from reaching all parts at once: they end in order.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
