package strictjson

// MaxDepth is how many arrays and objects may be open at once.
const MaxDepth = 32

// Member is one member of an object. Value is the raw JSON text of the value
// without surrounding space; it aliases the document. Name is decoded; it
// aliases the document unless it was written with escapes.
type Member struct {
	Name  []byte
	Value []byte
}

// Members checks the whole document, which must be one object, and appends its
// members to buf in the order of the document. With a buf that is large enough
// it does not allocate.
func Members(data []byte, buf []Member) ([]Member, error) {
	s := scanner{data: data}
	pos := s.space(0)
	if pos >= len(data) || data[pos] != '{' {
		return nil, notObject(data, pos)
	}
	var room [manyNames][]byte
	var names nameSet
	list := room[:0]
	pos, more, err := s.first(pos)
	for more && err == nil {
		var m Member
		if m.Name, pos, err = s.name(pos); err != nil {
			break
		}
		if !names.add(list, m.Name) {
			return nil, duplicate(pos)
		}
		list = append(list, m.Name)
		start := pos
		if pos, err = s.value(pos, 1); err != nil {
			break
		}
		m.Value = data[start:pos:pos]
		buf = append(buf, m)
		pos, more, err = s.next(pos)
	}
	if err != nil {
		return nil, err
	}
	if pos = s.space(pos); pos != len(data) {
		return nil, syntax(pos, "text after the document")
	}
	return buf, nil
}

func notObject(data []byte, pos int) error {
	if err := Valid(data); err != nil {
		return err
	}
	return &Error{Offset: pos, Reason: "expected an object", Kind: ErrType}
}

// Object checks the whole document, which must be one object, and then calls
// member for each of its members in the order of the document. An error from
// member ends the walk and is returned as it is.
//
// value is the raw JSON text of the member and aliases data; name is decoded and
// may be kept.
func Object(data []byte, member func(name string, value []byte) error) error {
	var buf [24]Member
	members, err := Members(data, buf[:0])
	if err != nil {
		return err
	}
	for _, m := range members {
		if err := member(string(m.Name), m.Value); err != nil {
			return err
		}
	}
	return nil
}

// Valid reports whether data is one strict JSON value of any type.
func Valid(data []byte) error {
	s := scanner{data: data}
	pos, err := s.value(s.space(0), 0)
	if err != nil {
		return err
	}
	if pos = s.space(pos); pos != len(data) {
		return syntax(pos, "text after the document")
	}
	return nil
}
