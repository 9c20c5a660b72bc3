package vm

// stripper turns what a guest writes to a terminal into plain text: without
// escape sequences (ECMA-48), carriage returns and other control characters,
// but with newlines and tabs. It keeps its state from one piece to the next.
type stripper struct {
	state stripState
}

type stripState int

const (
	stripText   stripState = iota
	stripEscape            // after ESC
	stripCSI               // after ESC [, until a byte of 0x40 to 0x7e
	stripString            // after ESC ], P, X, ^ or _, until BEL or ESC \
	stripStringEscape
)

// plain returns the text in p.
func (s *stripper) plain(p []byte) []byte {
	text := make([]byte, 0, len(p))
	for _, b := range p {
		switch s.state {
		case stripText:
			if b == 0x1b {
				s.state = stripEscape
			} else if b == '\n' || b == '\t' || b >= 0x20 && b != 0x7f {
				text = append(text, b)
			}
		case stripEscape:
			s.state = afterEscape(b)
		case stripCSI:
			if b >= 0x40 && b <= 0x7e {
				s.state = stripText
			} else if b == '\n' {
				// A broken sequence must not eat the rest of the log.
				s.state = stripText
				text = append(text, b)
			}
		case stripString:
			switch b {
			case 0x07:
				s.state = stripText
			case 0x1b:
				s.state = stripStringEscape
			case '\n':
				s.state = stripText
				text = append(text, b)
			}
		case stripStringEscape:
			s.state = stripText
		}
	}
	return text
}

func afterEscape(b byte) stripState {
	switch {
	case b == '[':
		return stripCSI
	case b == ']' || b == 'P' || b == 'X' || b == '^' || b == '_':
		return stripString
	case b >= 0x20 && b <= 0x2f:
		return stripEscape // intermediate byte: one more follows
	}
	return stripText
}
