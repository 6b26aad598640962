package main

import "time"

// pairs are two faults at once: where one hides what the other does.
func pairs() []fault {
	named := map[string]fault{}
	for _, f := range alone() {
		named[f.name] = f
	}
	restarts := fault{name: "nodes killed three times", begin: onNodes("deny-2 deny-3 allow-1 allow-4", killThrice)}
	restart := fault{name: "all nodes killed and started at once", hold: 6 * time.Second, begin: onNodes("", restartNode)}
	return []fault{
		pair(named["leader killed"], restarts),
		pair(named["all servers killed"], restart),
		pair(named["leader frozen"], named["nodes in a black hole"]),
		pair(named["leader cut off from everybody"], named["clocks an hour ahead"]),
		pair(named["two of three servers frozen"], named["clocks an hour behind"]),
		pair(named["stream full"], named["leader killed"]),
		pair(named["both issuers killed"], named["leader killed"]),
		pair(named["all servers cut off from each other"], named["issuers killed in turn during revocations"]),
		pair(named["stream deleted, created after a while"], named["nodes in a black hole"]),
		pair(named["stream deleted and created again"], restarts),
		pair(named["stream deleted and created again"], named["an issuer frozen"]),
		pair(named["disk of the leader full"], restarts),
		pair(named["all connections dropped 30 times"], named["follower killed"]),
		pair(named["statements again, in another order, weaker"], named["undecodable and hostile events"]),
		pair(named["disks of all servers slow, 300 ms"], restarts),
		shortly(pair(named["stream deleted and created again"], named["nodes killed and started again"])),
		long("leader and an issuer frozen, clocks that drift by one fiftieth, their nodes in a black hole at the end",
			together(onServers(leading, freezeServer), named["an issuer frozen"].begin), drifting(50*time.Second)),
		long("follower and nodes frozen", onServers(following, freezeServer), named["nodes frozen"].begin),
	}
}

// shortly makes it part of the short form.
func shortly(f fault) fault {
	f.short = true
	return f
}

// long is two faults for a minute.
func long(name string, a, b begin) fault {
	return fault{name: name, hold: time.Minute, begin: together(a, b)}
}

// alone is every fault by itself.
func alone() []fault {
	var all []fault
	for _, some := range [][]fault{upgradeFaults, brokerFaults, nodeFaults, streamFaults, issuerFaults, diskFaults, crowdFaults} {
		all = append(all, some...)
	}
	return all
}

// catalogue is every fault, alone and in pairs.
func catalogue() []fault { return append(alone(), pairs()...) }
