package kubernetes

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// maxStatus limits the body of an answer that is an error, in bytes.
const maxStatus = 64 << 10

// maxRetryAfter is how long a server can make us wait.
const maxRetryAfter = 2 * time.Minute

var (
	// errSilent says that nothing came for longer than it should.
	errSilent = errors.New("the watch was silent for too long")
	// errDue ends a watch that has lasted long enough.
	errDue = errors.New("the watch has lasted long enough")
	// errTooLarge says that an answer goes beyond its limits.
	errTooLarge = errors.New("the answer is larger than it can be")
)

// A statusError is an answer of an API server that is no success, the Status
// of [API].
type statusError struct {
	// what was asked for, such as "list nodes".
	what       string
	code       int
	message    string
	retryAfter time.Duration
}

func (e *statusError) Error() string {
	text := fmt.Sprintf("%s: %d %s", e.what, e.code, http.StatusText(e.code))
	if e.message != "" {
		text += ": " + e.message
	}
	switch {
	case e.code == http.StatusUnauthorized:
		text += "; fix: the API server does not take the credentials; put ones that are valid into the files of store.kubernetes, they are read again at once"
	case e.code == http.StatusForbidden:
		text += "; fix: the identity needs the ClusterRole weft-netd (nodes: get, list, watch; nodes/status: patch): kubectl apply -f docs/manifests/netd-rbac.yaml, and use its credentials: a kubelet's may not list nodes since Kubernetes 1.32, and as ownKubeconfig it is for the node of its own name"
	case e.code >= 300 && e.code < 400:
		text += "; fix: a redirection is not followed; give the address of the API server itself"
	}
	return text
}

// expired reports whether err says that a resource version is too old.
func expired(err error) bool { return hasCode(err, http.StatusGone) }

// hasCode reports whether err is an answer with a code.
func hasCode(err error, code int) bool {
	var e *statusError
	return errors.As(err, &e) && e.code == code
}

// status is the Status object of the API.
type status struct {
	Message string `json:"message"`
	Reason  string `json:"reason"`
	Code    int    `json:"code"`
	Details struct {
		RetryAfterSeconds int `json:"retryAfterSeconds"`
	} `json:"details"`
}

// error is s as an error.
func (s status) error(what string) *statusError {
	const most = 500
	if len(s.Message) > most {
		s.Message = strings.ToValidUTF8(s.Message[:most], "") + "…"
	}
	if s.Message == "" {
		s.Message = s.Reason
	}
	return &statusError{what: what, code: s.Code, message: s.Message, retryAfter: waiting(s.Details.RetryAfterSeconds)}
}

// waiting is a time to wait in seconds, within limits.
func waiting(seconds int) time.Duration {
	return time.Duration(min(max(seconds, 0), int(maxRetryAfter/time.Second))) * time.Second
}

// refused reads an answer that is no success and closes it.
func refused(what string, response *http.Response) error {
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxStatus))
	s := status{}
	if err != nil || json.Unmarshal(body, &s) != nil {
		s = status{} // not an API server's words; the code says enough
	}
	if response.StatusCode >= 300 && response.StatusCode < 400 {
		s.Message = fmt.Sprintf("redirected to %.200q", response.Header.Get("Location"))
	}
	s.Code = response.StatusCode
	e := s.error(what)
	if seconds, err := strconv.Atoi(response.Header.Get("Retry-After")); err == nil {
		e.retryAfter = waiting(seconds)
	}
	return e
}
