package events

import "github.com/quash-auth/quash/internal/strictjson"

// target is what a SET's subject names; scope 0: something CAEP has no name for.
type target struct {
	scope       Scope
	issuer, key string
}

// target reads the subject identifier.
func (s *incomingSET) target() (target, error) {
	id, err := parseSubjectID(s.subject, true)
	if err != nil {
		return target{}, err
	}
	switch id.format {
	case "jwt_id":
		return target{Token, id.text["iss"], id.text["jti"]}, nil
	case "iss_sub":
		return target{Subject, id.text["iss"], id.text["sub"]}, nil
	case "opaque", "uri":
		return target{}, nil
	case "complex":
		return id.complexTarget()
	}
	return target{}, badField("sub_id", "format %.40q names no token, session, subject or client", id.format)
}

// complexTarget reads a complex subject. All its members together describe one
// thing: a member that we cannot hold to must not be dropped, that would revoke
// more than was said.
func (id *incomingSubject) complexTarget() (target, error) {
	user, session, app := id.member["user"], id.member["session"], id.member["application"]
	known := 0
	for _, m := range []*incomingSubject{user, session, app} {
		if m != nil {
			known++
		}
	}
	if known != len(id.member) {
		return target{}, badField("sub_id", "a complex subject with more than user, session or application cannot be expressed")
	}
	switch {
	case session != nil && app == nil:
		if session.format != "opaque" || user != nil && user.format != "iss_sub" {
			return target{}, badField("sub_id", "session must be opaque and user iss_sub")
		}
		t := target{scope: Session, key: session.text["id"]}
		if user != nil {
			t.issuer = user.text["iss"]
		}
		return t, nil
	case user != nil && session == nil && app == nil:
		if user.format != "iss_sub" {
			return target{}, badField("sub_id", "user must be iss_sub")
		}
		return target{Subject, user.text["iss"], user.text["sub"]}, nil
	case app != nil && user == nil && session == nil:
		if app.format != "opaque" {
			return target{}, badField("sub_id", "application must be opaque")
		}
		return target{scope: Client, key: app.text["id"]}, nil
	}
	return target{}, badField("sub_id", "this combination of members cannot be expressed")
}

type incomingSubject struct {
	format string
	text   map[string]string
	member map[string]*incomingSubject // of a complex subject
}

// subjectMembers lists the members each simple format must have, and may have.
var subjectMembers = map[string][]string{
	"jwt_id": {"iss", "jti"}, "iss_sub": {"iss", "sub"}, "opaque": {"id"}, "uri": {"uri"},
	"email": {"email"}, "account": {"uri"}, "phone_number": {"phone_number"}, "did": {"url"},
}

func parseSubjectID(raw []byte, top bool) (*incomingSubject, error) {
	id := &incomingSubject{text: map[string]string{}, member: map[string]*incomingSubject{}}
	err := strictjson.Object(raw, func(name string, value []byte) (err error) {
		switch {
		case name == "format":
			id.format, err = strictjson.String(value)
		case value[0] == '"':
			id.text[name], err = strictjson.String(value)
		case top:
			id.member[name], err = parseSubjectID(value, false)
		default:
			err = badField(name, "a text is required")
		}
		return named("sub_id."+name, err)
	})
	if err != nil {
		return nil, err
	}
	if id.format == "complex" && top {
		if len(id.text) > 0 || len(id.member) == 0 {
			return nil, badField("sub_id", "a complex subject consists of simple ones")
		}
		return id, nil
	}
	members, ok := subjectMembers[id.format]
	if !ok {
		return nil, badField("sub_id", "format %.40q is not understood", id.format)
	}
	for _, m := range members {
		if id.text[m] == "" {
			return nil, badField("sub_id", "format %s requires %s", id.format, m)
		}
	}
	if len(id.text) != len(members) || len(id.member) > 0 {
		return nil, badField("sub_id", "format %s allows no other members", id.format)
	}
	return id, nil
}
