package main

// bindAll binds the addresses of the issuer and the nodes, and names the flag of
// one that can not be bound or is given twice. NATS binds its own later.
func (c *upCmd) bindAll(s *stack) error {
	if len(c.APIListen) == 0 {
		return usagef("--api-listen", "names no address")
	}
	type place struct{ flag, address string }
	places := []place{{"--listen", c.Listen}, {"--nats-listen", c.NATSListen}}
	for _, a := range c.APIListen {
		places = append(places, place{"--api-listen", a})
	}
	for i, p := range places {
		if err := checkAddress(p.flag, p.address); err != nil {
			return err
		}
		for _, q := range places[:i] {
			if sameAddress(p.address, q.address) {
				return usagef(p.flag, "%s is also %s %s: each needs an address of its own", p.address, q.flag, q.address)
			}
		}
	}
	l, err := bind("--listen", c.Listen)
	if err != nil {
		return err
	}
	s.listeners = append(s.listeners, l)
	for _, a := range c.APIListen {
		l, err := bind("--api-listen", a)
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, l)
	}
	return nil
}
