//! What a client asks for, and the answer's first lines. Pure: bytes in, bytes out.

#![forbid(unsafe_code)]

use httparse::{EMPTY_HEADER, Error, Request, Status};

/// Header fields that a request may have. Browsers send about twenty.
const FIELDS_MAX: usize = 64;

/// Bytes that the head of a request may have.
pub(super) const HEAD_MAX: usize = 8 * 1024;

/// A request, as far as it matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) what: What,
    /// Whether only the head of the answer is wanted.
    pub(super) head_only: bool,
}

/// What is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum What {
    Metrics,
    /// A page for people who find the port.
    Index,
    /// Nothing that is here.
    Refused(Refused),
}

/// Why a request is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Malformed,
    NotFound,
    Method,
    HeadTooLarge,
    Version,
}

/// Reads a request's head; `None` while there is more to come.
pub(super) fn read(head: &[u8]) -> Option<Asked> {
    let mut fields = [EMPTY_HEADER; FIELDS_MAX];
    let mut request = Request::new(&mut fields);
    match request.parse(head) {
        Ok(Status::Complete(_)) => Some(judge(
            request.method.unwrap_or_default(),
            request.path.unwrap_or_default(),
        )),
        Ok(Status::Partial) if head.len() >= HEAD_MAX => {
            Some(Asked::refused(Refused::HeadTooLarge))
        }
        Ok(Status::Partial) => None,
        Err(Error::TooManyHeaders) => Some(Asked::refused(Refused::HeadTooLarge)),
        Err(Error::Version) => Some(Asked::refused(Refused::Version)),
        Err(
            Error::HeaderName | Error::HeaderValue | Error::NewLine | Error::Status | Error::Token,
        ) => Some(Asked::refused(Refused::Malformed)),
    }
}

fn judge(method: &str, target: &str) -> Asked {
    let head_only = method == "HEAD";
    if !head_only && method != "GET" {
        return Asked::refused(Refused::Method);
    }
    let what = match path(target) {
        "/metrics" => What::Metrics,
        "/" => What::Index,
        _ => What::Refused(Refused::NotFound),
    };
    Asked { what, head_only }
}

/// A target without its query, and without the authority that a proxy's client names (RFC 9112
/// §3.2.2).
fn path(target: &str) -> &str {
    let origin = match target.split_once("://") {
        Some((_, rest)) => rest.find('/').map_or("/", |at| rest.split_at(at).1),
        None => target,
    };
    origin.split('?').next().unwrap_or_default()
}

impl Asked {
    const fn refused(refused: Refused) -> Self {
        Self {
            what: What::Refused(refused),
            head_only: false,
        }
    }

    /// The whole answer. `metrics` are made only if they are asked for.
    pub(super) fn answer(self, metrics: impl FnOnce() -> String) -> Vec<u8> {
        let (status, content, body) = match self.what {
            What::Metrics => ("200 OK", OPENMETRICS, metrics()),
            What::Index => ("200 OK", "text/html; charset=utf-8", INDEX.into()),
            What::Refused(refused) => {
                let status = refused.status();
                (status, "text/plain; charset=utf-8", format!("{status}\n"))
            }
        };
        let allow = match self.what {
            What::Refused(Refused::Method) => "Allow: GET, HEAD\r\n",
            What::Metrics | What::Index | What::Refused(_) => "",
        };
        let mut answer = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {content}\r\nContent-Length: {}\r\n{allow}\
             Cache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
            body.len()
        );
        if !self.head_only {
            answer.push_str(&body);
        }
        answer.into_bytes()
    }
}

impl Refused {
    fn status(self) -> &'static str {
        match self {
            Self::Malformed => "400 Bad Request",
            Self::NotFound => "404 Not Found",
            Self::Method => "405 Method Not Allowed",
            Self::HeadTooLarge => "431 Request Header Fields Too Large",
            Self::Version => "505 HTTP Version Not Supported",
        }
    }
}

/// The format of the metrics.
const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

const INDEX: &str = "<!DOCTYPE html>\n<title>nvmfd</title>\n<a href=\"/metrics\">metrics</a>\n";

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(what: What) -> Option<Asked> {
        let head_only = false;
        Some(Asked { what, head_only })
    }

    fn refused(refused: Refused) -> Option<Asked> {
        asked(What::Refused(refused))
    }

    #[test]
    fn metrics_are_found_however_a_client_writes_it() {
        for target in [
            "/metrics",
            "/metrics?name[]=up",
            "http://127.0.0.1:9420/metrics",
        ] {
            let head = format!("GET {target} HTTP/1.1\r\nHost: a\r\n\r\n");
            assert_eq!(read(head.as_bytes()), asked(What::Metrics), "{target}");
            for end in 0..head.len() {
                assert_eq!(read(&head.as_bytes()[..end]), None);
            }
        }
        assert_eq!(read(b"GET http://here HTTP/1.0\n\n"), asked(What::Index));
        let head = read(b"HEAD / HTTP/1.1\r\n\r\n").expect("complete");
        assert!(head.head_only && head.what == What::Index);
    }

    #[test]
    fn what_is_not_here_or_no_request_is_refused() {
        assert_eq!(
            read(b"GET /other HTTP/1.1\r\n\r\n"),
            refused(Refused::NotFound)
        );
        assert_eq!(read(b"GET * HTTP/1.1\r\n\r\n"), refused(Refused::NotFound));
        assert_eq!(
            read(b"POST /metrics HTTP/1.1\r\n\r\n"),
            refused(Refused::Method)
        );
        assert_eq!(read(b"\x16\x03\x01\x02\0\x01"), refused(Refused::Malformed));
        assert_eq!(
            read(b"GET /metrics HTTP/2.0\r\n\r\n"),
            refused(Refused::Version)
        );
        let many = format!("GET / HTTP/1.1\r\n{}\r\n", "a: b\r\n".repeat(65));
        assert_eq!(read(many.as_bytes()), refused(Refused::HeadTooLarge));
        let long = format!("GET /{}", "a".repeat(HEAD_MAX - 5));
        assert_eq!(read(long.as_bytes()), refused(Refused::HeadTooLarge));
        assert_eq!(read(&long.as_bytes()[1..]), None);
    }

    #[test]
    fn an_answer_to_head_has_the_length_and_no_body() {
        let head = read(b"HEAD /metrics HTTP/1.1\r\n\r\n").expect("complete");
        let answer = String::from_utf8(head.answer(|| "# EOF\n".into())).unwrap();
        assert!(answer.contains("Content-Length: 6\r\n"), "{answer}");
        assert!(answer.ends_with("Connection: close\r\n\r\n"), "{answer}");
    }
}
