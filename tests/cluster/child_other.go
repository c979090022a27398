//go:build !linux

package main

import "syscall"

// childAttributes cannot tie a child's life to its parent's here: a parent that is killed leaves its parts behind.
func childAttributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
