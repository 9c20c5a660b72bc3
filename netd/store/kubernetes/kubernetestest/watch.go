package kubernetestest

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

// A watcher is one open watch. Its fields are guarded by nodes.data.
type watcher struct {
	only string
	// from is the version it has seen.
	from  int
	queue []record
	// news is a signal that there is something to do.
	news chan struct{}
	// bookmark asks for one, end for the end of the watch.
	bookmark, end bool
	// abort makes the end a broken connection.
	abort bool
}

func (w *watcher) wake() {
	select {
	case w.news <- struct{}{}:
	default:
	}
}

// record adds to the history and tells the watches. The lock must be held.
func (n *nodes) record(r record) {
	n.history = append(n.history, r)
	for w := range n.watchers {
		w.take(r)
	}
}

// take queues what the watch has not seen. A watch from a version of the
// future sees nothing till then, and nobody tells it.
func (w *watcher) take(r record) {
	if r.version > w.from && (w.only == "" || w.only == r.name) {
		w.queue = append(w.queue, r)
		w.wake()
	}
}

// Bookmark sends one on every open watch.
func (n *nodes) Bookmark() {
	n.data.Lock()
	defer n.data.Unlock()
	for w := range n.watchers {
		w.bookmark = true
		w.wake()
	}
}

// EndWatches ends all open watches: in good order, or as broken connections.
func (n *nodes) EndWatches(abort bool) {
	n.data.Lock()
	defer n.data.Unlock()
	for w := range n.watchers {
		w.end, w.abort = true, abort
		w.wake()
	}
}

// Watching is how many watches are open.
func (n *nodes) Watching() int {
	n.data.Lock()
	defer n.data.Unlock()
	return len(n.watchers)
}

// watch answers a watch until it ends.
func (s *Server) watch(q question) {
	q.w.Header().Set("Content-Type", "application/json")
	q.w.WriteHeader(http.StatusOK)
	http.NewResponseController(q.w).Flush()
	w, initial, ok := s.open(q)
	if !ok {
		// In a watch this is an event in an answer that is a success.
		s.send(q, "ERROR", status(http.StatusGone, "Expired", "too old resource version: "+q.r.URL.Query().Get("resourceVersion")))
		return
	}
	defer func() {
		s.data.Lock()
		delete(s.watchers, w)
		s.data.Unlock()
	}()
	for _, o := range initial {
		s.send(q, "ADDED", o)
	}
	s.stream(q, w)
}

// open registers a watch. It is not ok when its version has expired.
func (s *Server) open(q question) (w *watcher, initial []Object, ok bool) {
	s.data.Lock()
	defer s.data.Unlock()
	from, _ := strconv.Atoi(q.r.URL.Query().Get("resourceVersion"))
	w = &watcher{only: q.only(), from: from, news: make(chan struct{}, 1)}
	switch {
	case from == 0:
		w.from = s.version
		for name, o := range s.objects {
			if w.only == "" || w.only == name {
				initial = append(initial, o)
			}
		}
	case from < s.compacted:
		return nil, nil, false
	}
	for _, r := range s.history {
		w.take(r)
	}
	s.watchers[w] = true
	return w, initial, true
}

// stream sends what happens.
func (s *Server) stream(q question, w *watcher) {
	seconds, err := strconv.Atoi(q.r.URL.Query().Get("timeoutSeconds"))
	if err != nil {
		seconds = 1800 // kube-apiserver --min-request-timeout
	}
	end := time.NewTimer(time.Duration(seconds) * time.Second)
	defer end.Stop()
	var bookmarks <-chan time.Time
	if s.options.BookmarkEvery > 0 {
		ticker := time.NewTicker(s.options.BookmarkEvery)
		defer ticker.Stop()
		bookmarks = ticker.C
	}
	for {
		s.data.Lock()
		queue, bookmark, ended, abort := w.queue, w.bookmark, w.end, w.abort
		w.queue, w.bookmark = nil, false
		version := s.version
		future := w.from > version
		s.data.Unlock()
		for _, r := range queue {
			if !s.send(q, r.kind, r.object) {
				return
			}
		}
		if bookmark && !future && !s.send(q, "BOOKMARK", Object{"kind": "Node", "apiVersion": "v1",
			"metadata": Object{"resourceVersion": strconv.Itoa(version)}}) {
			return
		}
		if abort {
			panic(http.ErrAbortHandler)
		}
		if ended {
			return
		}
		select {
		case <-w.news:
		case <-bookmarks:
			s.data.Lock()
			w.bookmark = q.r.URL.Query().Get("allowWatchBookmarks") == "true"
			s.data.Unlock()
		case <-end.C:
			return
		case <-q.r.Context().Done():
			return
		}
	}
}

// send sends one event. It is false when the watch is over.
func (s *Server) send(q question, kind string, o Object) bool {
	line := append(must(json.Marshal(Object{"type": kind, "object": o})), '\n')
	silent, cut := s.misbehave()
	switch {
	case silent:
		return true
	case cut > 0:
		q.w.Write(line[:min(cut, len(line))])
		return false
	}
	q.w.Write(line)
	return http.NewResponseController(q.w).Flush() == nil
}
