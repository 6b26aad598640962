// Package bench compares quash with what people use instead, in the same run. It
// is a module of its own because those things drag in dependencies that nobody
// who embeds quash should see. The program in compare does it with a handler and
// real stores; the benchmark here asks one question, in memory and of Redis.
//
// It needs a redis-server program on the PATH, and starts its own on a free
// loopback port.
package bench
