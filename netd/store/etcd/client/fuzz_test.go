package client

import (
	"testing"
)

func FuzzMessages(f *testing.F) {
	kv := message(nil).text(1, "/a").number(2, 3).number(3, 4).text(5, "v").number(6, 9)
	header := message(nil).number(1, 1).number(3, 7)
	page := message(nil).part(1, header).part(2, kv).flag(3, true)
	f.Add([]byte(page))
	f.Add([]byte(message(nil).part(1, header).flag(2, true).part(3, message(nil).part(1, page))))
	f.Add([]byte(message(nil).part(1, header).flag(3, true).part(11, message(nil).number(1, 1).part(2, kv))))
	f.Add([]byte(message(nil).part(1, header).number(2, -1).number(3, 86400)))
	f.Fuzz(func(t *testing.T, data []byte) {
		// None may crash, and none may hold more than what came.
		p, err := parsePage(data)
		if err == nil && len(p.KVs) > len(data) {
			t.Fatal("more keys than bytes")
		}
		_, _ = parseResult(data)
		_, _ = parseNews(data)
		_, _, _ = parseLease(data)
		_, _ = parseAuthenticate(data)
	})
}
