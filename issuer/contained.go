package issuer

import "fmt"

// contained calls f and makes an error of its panic. A store of users is somebody else's code: in the request's goroutine the HTTP
// server contains what it does, elsewhere nobody would.
func contained(f func() error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: panic: %v", ErrUnavailable, p)
		}
	}()
	return f()
}
