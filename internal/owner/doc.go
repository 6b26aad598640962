// Package owner says whose a file is.
package owner
