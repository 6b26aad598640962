package snapshot

const Version = version

// HeaderOfVersion is a header that adds up.
var HeaderOfVersion = headerOf

func EncodeStatement(s Statement) []byte { return appendStatement(nil, &s) }
func EncodeMark(m Mark) []byte           { return m.encode(version) }

func DecodeStatements(b []byte) (all []Statement, err error) {
	err = statements(b, func(s Statement) { all = append(all, s) })
	return all, err
}

func DecodeMark(b []byte) (Mark, error) { return decodeMark(b, version) }
