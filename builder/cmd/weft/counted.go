package main

import "io"

// A counted reader tells how much was read.
type counted struct {
	io.Reader
	read func(int64)
}

func (c counted) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.read(int64(n))
	return n, err
}
