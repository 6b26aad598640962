// Package natstest runs real nats-servers for tests: in this process, three of
// them as a cluster, or as a child process that can be killed and frozen.
// Everything listens on 127.0.0.1 and ends with the test.
package natstest
