package main

func (r *result) document() string { return r.table() }
