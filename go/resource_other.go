//go:build !linux

package weir

func (id *identity) readSystem() {}
