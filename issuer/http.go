package issuer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/quash-auth/quash/events"
)

const (
	maxBody    = 64 << 10
	retryAfter = 2 // seconds
)

// fault is an answer other than 200: RFC 6749 §5.2's code, and what else the status asks for.
type fault struct {
	status      int
	code        string
	description string
	challenge   string        // WWW-Authenticate
	after       time.Duration // Retry-After
	logged      bool          // already, where it was made
}

func (f *fault) Error() string { return f.code + ": " + f.description }

func badRequest(description string) *fault {
	return &fault{status: http.StatusBadRequest, code: "invalid_request", description: description}
}

// routes serves under the path of the issuer URL. RFC 8414 §3.1 puts the well-known part before that path, OpenID Connect after it.
func (i *Issuer) routes() http.Handler {
	u, _ := url.Parse(i.cfg.Issuer) // checked by complete
	base := strings.TrimSuffix(u.Path, "/")
	mux := http.NewServeMux()
	post := func(path string, h func(http.ResponseWriter, *http.Request) error) {
		mux.Handle(base+path, i.endpoint(h, http.MethodPost))
	}
	get := func(path string, h func(http.ResponseWriter, *http.Request) error) {
		mux.Handle(path, i.endpoint(h, http.MethodGet, http.MethodHead))
	}
	page := func(path string, h func(http.ResponseWriter, *http.Request) error, methods ...string) {
		mux.Handle(base+path, i.browser(h, methods...))
	}
	page("/authorize", i.serveAuthorize, http.MethodGet, http.MethodHead, http.MethodPost)
	page("/authorize/login", i.serveAuthorizeLogin, http.MethodPost)
	mux.Handle(base+"/userinfo", i.endpoint(i.serveUserInfo, http.MethodGet, http.MethodPost))
	post("/login", i.serveLogin)
	post("/token", i.serveToken)
	post("/revoke", i.serveRevoke)
	post("/introspect", i.serveIntrospect)
	post("/logout", i.serveLogout)
	post("/logout-all", i.serveLogoutAll)
	get(base+"/sessions", i.serveSessions)
	mux.Handle(base+"/sessions/{sid}", i.endpoint(i.serveEndSession, http.MethodDelete))
	post("/admin/revocations", i.serveAdminRevocation)
	post("/admin/one-time", i.serveOnce)
	get(base+"/admin/sessions", i.serveAdminSessions)
	mux.Handle(base+"/admin/users", i.endpoint(i.serveAdminUsers, http.MethodGet, http.MethodHead, http.MethodPost))
	get(base+"/admin/users/{sub}", i.serveAdminUser)
	post("/admin/users/{sub}/{change}", i.serveAdminUserChange)
	post("/password", i.servePassword)
	get(base+"/admin/keys", i.serveAdminKeys)
	post("/admin/keys/rotate", i.serveAdminKeyRotate)
	post("/admin/keys/{kid}/{change}", i.serveAdminKeyChange)
	get(base+"/.well-known/jwks.json", i.serveKeys)
	get("/.well-known/oauth-authorization-server"+base, i.serveMetadata)
	get(base+"/.well-known/openid-configuration", i.serveMetadata)
	get("/livez", i.serveLive)
	get("/readyz", i.serveReady)
	mux.Handle("/", i.endpoint(func(http.ResponseWriter, *http.Request) error {
		return &fault{status: http.StatusNotFound, code: "invalid_request", description: "no such endpoint"}
	}))
	return mux
}

// endpoint bounds the request and turns an error into its answer. What a request has begun it finishes although the client
// goes away: half a rotation would look like theft the next time.
func (i *Issuer) endpoint(h func(http.ResponseWriter, *http.Request) error, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("Pragma", "no-cache")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if len(methods) > 0 && !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			i.refuse(w, r, &fault{status: http.StatusMethodNotAllowed, code: "invalid_request", description: "method not allowed"})
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), i.cfg.Timeout)
		defer cancel()
		var after errands
		r = r.WithContext(context.WithValue(ctx, errandsKey{}, &after))
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		if err := h(w, r); err != nil {
			i.refuse(w, r, err)
		}
		i.runErrands(w, ctx, after)
	})
}

// refuse is the one table from errors to answers.
func (i *Issuer) refuse(w http.ResponseWriter, r *http.Request, err error) {
	f := i.answer(err)
	if f == errInvalidClient && len(r.Header["Authorization"]) == 0 && !strings.HasSuffix(r.URL.Path, "/introspect") {
		// RFC 6749 §5.2: 401 and a challenge are for clients that used the header. Browsers would ask people for a password, and
		// strict clients would not read the code. RFC 7662 §2.3 has 401 in any case.
		f = &fault{status: http.StatusBadRequest, code: f.code, description: f.description}
	}
	i.logFailure(r, err)
	if f.challenge != "" {
		w.Header().Set("WWW-Authenticate", f.challenge)
	}
	setRetryAfter(w.Header(), f.after)
	write := struct {
		Error       string `json:"error"`
		Description string `json:"error_description,omitempty"`
	}{f.code, plain(f.description)}
	i.respond(w, f.status, write)
}

// logFailure is for failures of our own.
func (i *Issuer) logFailure(r *http.Request, err error) {
	f := i.answer(err)
	if f.status < 500 || f.logged {
		return
	}
	level := slog.LevelWarn
	if errors.Is(err, ErrRecord) {
		level = slog.LevelError
	}
	i.log.Log(r.Context(), level, "request failed", "path", r.URL.Path, "status", f.status, "error", err)
}

func setRetryAfter(h http.Header, after time.Duration) {
	if after > 0 {
		h.Set("Retry-After", strconv.FormatInt(wholeSeconds(after), 10))
	}
}

func wholeSeconds(d time.Duration) int64 { return int64((d + time.Second - 1) / time.Second) }

func (i *Issuer) answer(err error) *fault {
	var (
		f         *fault
		throttled *ThrottledError
		large     *http.MaxBytesError
		field     *events.FieldError
		scope     *scopeError
	)
	switch {
	case errors.As(err, &f):
		return f
	case errors.As(err, &large):
		return &fault{status: http.StatusRequestEntityTooLarge, code: "invalid_request", description: "the body is larger than 64 KiB"}
	case errors.As(err, &throttled):
		return &fault{status: http.StatusTooManyRequests, code: "temporarily_unavailable", description: "too many attempts",
			after: max(throttled.After, time.Second)}
	case errors.Is(err, ErrUnavailable), errors.Is(err, events.ErrUnavailable), errors.Is(err, events.ErrFull):
		return &fault{status: http.StatusServiceUnavailable, code: "temporarily_unavailable",
			description: "it is not known whether this was done; send it again", after: retryAfter * time.Second}
	case errors.Is(err, ErrCredentials):
		return &fault{status: http.StatusUnauthorized, code: "invalid_credentials", description: "wrong name or password"}
	case errors.Is(err, ErrDisabled):
		return &fault{status: http.StatusForbidden, code: "access_denied", description: "the account is disabled"}
	case errors.Is(err, ErrGrant):
		return &fault{status: http.StatusBadRequest, code: "invalid_grant", description: "the refresh token is not valid"}
	case errors.Is(err, ErrOnce):
		return badRequest(strings.TrimPrefix(err.Error(), ErrOnce.Error()+": "))
	case errors.Is(err, errBadScope):
		return &fault{status: http.StatusBadRequest, code: "invalid_scope", description: "the scope exceeds the one granted"}
	case errors.Is(err, ErrToken):
		return &fault{status: http.StatusUnauthorized, code: "invalid_token", description: "the access token is not valid",
			challenge: `Bearer realm="quash", error="invalid_token", error_description="the access token is not valid"`}
	case errors.As(err, &scope):
		return &fault{status: http.StatusForbidden, code: "insufficient_scope", description: scope.Error(),
			challenge: `Bearer realm="quash", error="insufficient_scope", scope="` + scope.scope + `"`}
	case errors.Is(err, ErrNoUser):
		return errNoAccount
	case errors.Is(err, ErrUserExists):
		return &fault{status: http.StatusConflict, code: "invalid_request", description: "the name is taken"}
	case errors.Is(err, ErrUser):
		return badRequest(memberNames.Replace(err.Error()))
	case errors.As(err, &field):
		return badRequest(field.Error())
	case errors.Is(err, events.ErrInvalid):
		return badRequest(err.Error())
	}
	return &fault{status: http.StatusInternalServerError, code: "server_error", description: "internal error"}
}

func (i *Issuer) respond(w http.ResponseWriter, status int, v any) {
	text, err := json.Marshal(v)
	if err != nil {
		i.log.Error("encode an answer", "error", err)
		status, text = http.StatusInternalServerError, []byte(`{"error":"server_error"}`)
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(text)+1)) // so that the answer is whole before errands run
	w.WriteHeader(status)
	_, _ = w.Write(append(text, '\n')) // the client may be gone
}

// plain keeps to the characters of RFC 6749 §5.2.
func plain(s string) string {
	s = strings.ReplaceAll(s, "§", "section ")
	return strings.Map(func(r rune) rune {
		switch {
		case r == '"':
			return '\''
		case r == '\\':
			return '/'
		case r < 0x20 || r > 0x7e:
			return '?'
		}
		return r
	}, s)
}

func mediaType(r *http.Request, want string) bool {
	got, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	return err == nil && got == want && len(r.Header.Values("Content-Type")) == 1
}

func readJSON(r *http.Request) ([]byte, error) {
	if !mediaType(r, "application/json") {
		return nil, &fault{status: http.StatusUnsupportedMediaType, code: "invalid_request", description: "the Content-Type must be application/json"}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bodyError(err)
	}
	return body, nil
}

// readBody reads a JSON object of a kind.
func readBody[Q any](r *http.Request, parse func([]byte) (Q, error)) (q Q, err error) {
	body, err := readJSON(r)
	if err != nil {
		return q, err
	}
	return parse(body)
}

func bodyError(err error) error {
	var large *http.MaxBytesError
	if errors.As(err, &large) {
		return err
	}
	return badRequest("the body could not be read")
}

// readForm reads the parameters of RFC 6749 §3.2: in the body only, each once, empty ones count as absent.
func readForm(r *http.Request) (map[string]string, error) {
	if r.URL.RawQuery != "" {
		return nil, badRequest("parameters belong into the body")
	}
	if !mediaType(r, "application/x-www-form-urlencoded") {
		return nil, badRequest("the Content-Type must be application/x-www-form-urlencoded")
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, bodyError(err)
	}
	return parseForm(string(body))
}

func parseForm(body string) (map[string]string, error) {
	values, err := url.ParseQuery(body)
	if err != nil {
		return nil, badRequest("the body is not a form")
	}
	form := make(map[string]string, len(values))
	for name, vs := range values {
		if len(vs) > 1 {
			return nil, badRequest("a parameter is repeated")
		}
		if vs[0] != "" {
			form[name] = vs[0]
		}
	}
	return form, nil
}

// bearer returns the token of the Authorization header (RFC 6750 §2.1).
func bearer(r *http.Request) (string, error) {
	headers := r.Header.Values("Authorization")
	if len(headers) > 1 {
		return "", badRequest("more than one Authorization header")
	}
	scheme, raw, _ := strings.Cut(strings.Join(headers, ""), " ")
	if !strings.EqualFold(scheme, "Bearer") {
		return "", &fault{status: http.StatusUnauthorized, code: "invalid_token", description: "an access token is needed",
			challenge: `Bearer realm="quash"`}
	}
	raw = strings.TrimLeft(raw, " ")
	if raw == "" || strings.ContainsAny(raw, " \t,") {
		f := badRequest("the Authorization header is malformed")
		f.challenge = fmt.Sprintf(`Bearer realm="quash", error="invalid_request", error_description=%q`, f.description)
		return "", f
	}
	return raw, nil
}
