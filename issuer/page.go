package issuer

import (
	"bytes"
	"context"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"errors"
	"fmt"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

var (
	//go:embed page/style.css
	pageStyle string
	//go:embed page/login.html
	loginHTML string
	//go:embed page/problem.html
	problemHTML string
)

var (
	loginTemplate   = pageTemplate("login", loginHTML)
	problemTemplate = pageTemplate("problem", problemHTML)
	styleSource     = func() string { // of Content-Security-Policy
		sum := sha256.Sum256([]byte(pageStyle))
		return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
	}()
)

// pageTemplate: what fails here fails in every test.
func pageTemplate(name, text string) *template.Template {
	t := template.Must(template.New(name).Parse(text))
	template.Must(t.New("style").Parse(pageStyle))
	return t
}

// loginPage is what login.html shows.
type loginPage struct {
	Client, Issuer, Host string
	Action, Ticket       string
	Username             string
	Problem, Advice      string
	Wrong                bool         // the problem is in the members of the form
	Cancel               template.URL // a registered redirect URI, so its scheme is none that runs code
}

// problemPage is what problem.html shows.
type problemPage struct{ Problem, Advice, Detail string }

// browser is endpoint for people: errors are pages, or redirects if the client may know.
func (i *Issuer) browser(h func(http.ResponseWriter, *http.Request) error, methods ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		pageHeader(w.Header(), "'none'")
		if !slices.Contains(methods, r.Method) {
			w.Header().Set("Allow", strings.Join(methods, ", "))
			i.showProblem(w, r, &fault{status: http.StatusMethodNotAllowed, code: "invalid_request", description: "method not allowed"})
			return
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), i.cfg.Timeout)
		defer cancel()
		r = r.WithContext(ctx)
		r.Body = http.MaxBytesReader(w, r.Body, maxBody)
		err := h(w, r)
		var told *rejection
		switch {
		case errors.As(err, &told):
			redirect(w, i.answerTo(told.to, "error", told.code, "error_description", plain(told.description)))
		case err != nil:
			i.showProblem(w, r, err)
		}
	})
}

// pageHeader: nothing runs, nothing is loaded, nobody frames the page, holds on to its window or keeps a copy. The referrer goes to
// ourselves only; with no-referrer browsers would send "Origin: null" with the form.
func pageHeader(h http.Header, formAction string) {
	h.Set("Cache-Control", "no-store")
	h.Set("Pragma", "no-cache")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src "+styleSource+"; form-action "+formAction+
		"; frame-ancestors 'none'; base-uri 'none'")
}

// redirect by GET and without a referrer (RFC 9700 §4.12, §4.2.4).
func redirect(w http.ResponseWriter, to string) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Location", to)
	w.WriteHeader(http.StatusSeeOther)
}

// showLogin shows the form, and what went wrong before if err is not nil.
func (i *Issuer) showLogin(w http.ResponseWriter, r *http.Request, q *authorization, name string, err error) error {
	p := loginPage{Username: name}
	cookie := i.giveTicketCookie(w, r)
	ticket, failed := i.ticket(r.Context(), q, cookie)
	if failed != nil {
		return failed
	}
	status := http.StatusOK
	if err != nil {
		i.logFailure(r, err)
		var after time.Duration
		status, after, p.Problem, p.Advice = i.loginProblem(err)
		setRetryAfter(w.Header(), after)
		p.Wrong = errors.Is(err, ErrCredentials)
	}
	u, _ := url.Parse(i.cfg.Issuer) // checked by complete
	p.Client, p.Issuer, p.Host = q.client.title(), u.Host, returnHost(q.redirect)
	p.Action, p.Ticket = strings.TrimSuffix(u.Path, "/")+"/authorize/login", ticket
	p.Cancel = template.URL(i.answerTo(q, "error", "access_denied", "error_description", "the user went back"))
	pageHeader(w.Header(), strings.TrimSpace("'self' "+formAction(q.redirect)))
	return writePage(w, status, loginTemplate, p)
}

// mayTryAgain on the same page.
func mayTryAgain(err error) bool {
	return errors.Is(err, ErrCredentials) || errors.Is(err, errExpired) || errors.Is(err, ErrThrottled) || errors.Is(err, ErrUnavailable)
}

// loginProblem is what people are told, for the errors after which they may try again on the same page.
func (i *Issuer) loginProblem(err error) (status int, after time.Duration, problem, advice string) {
	f := i.answer(err)
	switch {
	case errors.Is(err, ErrCredentials):
		return http.StatusBadRequest, 0, "Wrong user name or password", "Check both and try again."
	case errors.Is(err, errExpired):
		return http.StatusBadRequest, 0, "This page was open for too long", "Please log in again."
	case f.status == http.StatusTooManyRequests:
		return f.status, f.after, "Too many attempts", fmt.Sprintf("Wait %d seconds and try again.", wholeSeconds(f.after))
	}
	return http.StatusServiceUnavailable, retryAfter * time.Second, "The log-in does not work at the moment", "Nothing is lost. Try again in a few seconds."
}

// showProblem ends the flow: there is nothing to try again on this page.
func (i *Issuer) showProblem(w http.ResponseWriter, r *http.Request, err error) {
	f := i.answer(err)
	i.logFailure(r, err)
	p := problemPage{"This log-in link does not work", "Go back to the application and try again from there.", f.description}
	switch {
	case errors.Is(err, ErrDisabled):
		p = problemPage{Problem: "This account is disabled", Advice: "You cannot log in. Ask the people who gave you the account."}
	case errors.Is(err, errTicket):
		p = problemPage{Problem: "This log-in form cannot be used",
			Advice: "It was not opened in this browser, or the browser keeps no cookies of this site. Go back to the application and log in from there."}
	case f.status >= http.StatusInternalServerError:
		p = problemPage{Problem: "The log-in does not work at the moment", Advice: "Nothing is lost. Try again in a few seconds."}
	}
	setRetryAfter(w.Header(), f.after)
	if err := writePage(w, f.status, problemTemplate, p); err != nil {
		i.log.Error("make a page", "error", err)
		w.WriteHeader(http.StatusInternalServerError)
	}
}

func writePage(w http.ResponseWriter, status int, t *template.Template, data any) error {
	var b bytes.Buffer
	if err := t.Execute(&b, data); err != nil {
		return fmt.Errorf("make the page %s: %w", t.Name(), err)
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // the browser may be gone
	return nil
}

// title is what people call the client.
func (c Client) title() string {
	if c.Name == "" {
		return c.ID
	}
	return c.Name
}

// originOf the issuer's pages, as browsers write it.
func originOf(issuer string) string {
	u, _ := url.Parse(issuer) // checked by complete
	return originFrom(u)
}
