package issuer

import "context"

func (i *Issuer) writeMark(ctx context.Context, m *mark, also ...write) error {
	w, err := m.write()
	if err != nil {
		return err
	}
	m.revision, err = i.store.commit(ctx, append([]write{w}, also...)...)
	return err
}

// session reads a session; nil if there is none.
func (i *Issuer) session(ctx context.Context, sid string) (*session, error) {
	if !sidForm(sid) {
		return nil, nil
	}
	rec, err := i.store.get(ctx, sessionKey(sid))
	if err != nil || !rec.exists() {
		return nil, err
	}
	return decodeSession(rec)
}

func (i *Issuer) writeSession(ctx context.Context, s *session, also ...write) error {
	w, err := s.write(i.life(s))
	if err != nil {
		return err
	}
	revision, err := i.store.commit(ctx, append([]write{w}, also...)...)
	if err == nil {
		s.revision = revision
	}
	return err
}
