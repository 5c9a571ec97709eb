//! What the monitor answers to whom asks on the control socket.

#![forbid(unsafe_code)]

use nvmf_kmod::request::Which;
use nvmf_proto::nqn::Nqn;
use tracing::info;
use tracing::level_filters::LevelFilter;

use super::child::{Child, Lost};
use super::{End, Monitor};
use crate::control::Question;
use crate::control::message::{Answer, Failure, FailureKind, Request, Sessions, Whose};
use crate::error::chain;
use crate::ipc::ToWorker;

impl Monitor<'_> {
    /// Answers; or the daemon is to end.
    pub(super) fn answer(&mut self, question: Question) -> Option<End> {
        let Question { request, reply } = question;
        let answer = match request {
            Request::Leave => return Some(End::Leave(reply)),
            Request::Status => Ok(Answer::Status(Box::new(self.status()))),
            Request::Sessions => Ok(Answer::Sessions(self.sessions())),
            Request::Refusals => self
                .ask(Child::refusals)
                .map(Answer::Refusals)
                .map_err(|lost| busy(&lost)),
            Request::Plan { name, text } => self.plan(&name, &text).map(Answer::Plan),
            Request::Reload => self.reload().map(Answer::Plan),
            Request::Terminate { whose } => self.terminate(&whose),
            Request::Drain { on } => self.drain(on),
            Request::Log { level } => self.log(&level),
        };
        // A client that has gone does not want it.
        let _ = reply.send(answer.unwrap_or_else(Answer::Failed));
        None
    }

    /// Who is connected, in every mode.
    pub(super) fn sessions(&mut self) -> Sessions {
        let mut missing = Vec::new();
        let mut sessions = match self.ask(Child::sessions) {
            Ok(sessions) => sessions,
            Err(lost) => {
                missing.push(chain(&lost));
                Vec::new()
            }
        };
        if let Some(kernel) = &self.kernel {
            match kernel.sessions(&self.config) {
                Ok(theirs) => sessions.extend(theirs),
                Err(error) => missing.push(error.report()),
            }
        }
        sessions.sort_by(|a, b| (&a.subsystem, a.cntlid).cmp(&(&b.subsystem, b.cntlid)));
        Sessions {
            sessions,
            missing: (!missing.is_empty()).then(|| missing.join("; ")),
        }
    }

    fn terminate(&mut self, whose: &Whose) -> Result<Answer, Failure> {
        let mut count = self
            .ask(|worker| worker.terminate(whose))
            .map_err(|lost| busy(&lost))?;
        if let Some(kernel) = &self.kernel {
            let theirs = kernel.sessions(&self.config).map_err(|error| Failure {
                kind: FailureKind::System,
                text: error.report(),
            })?;
            let (which, meant) = match whose {
                Whose::Cntlid(cntlid) => {
                    let meant = theirs.iter().filter(|it| it.cntlid == *cntlid).count();
                    (Which::Cntlid(*cntlid), meant)
                }
                Whose::Host(host) => {
                    let nqn: Nqn = host.parse().map_err(|_| Failure {
                        kind: FailureKind::Request,
                        text: format!("{host:?} is no NQN"),
                    })?;
                    let meant = theirs.iter().filter(|it| it.hostnqn == *host).count();
                    (Which::Host(nqn), meant)
                }
            };
            if meant > 0 {
                kernel.ctl.terminate(&which).map_err(|error| Failure {
                    kind: FailureKind::System,
                    text: error.to_string(),
                })?;
                count += u64::try_from(meant).unwrap_or(u64::MAX);
            }
        }
        match count {
            0 => Err(Failure {
                kind: FailureKind::NotFound,
                text: "nobody is connected by that name or number; nvmfctl sessions lists who is"
                    .into(),
            }),
            count => {
                info!(count, "sessions are ended because an operator asked for it");
                Ok(Answer::Terminated(count))
            }
        }
    }

    fn drain(&mut self, on: bool) -> Result<Answer, Failure> {
        self.draining = on;
        match on {
            true => info!("draining: new controllers are refused"),
            false => info!("draining ends"),
        }
        self.order(&ToWorker::Drain(on));
        Ok(Answer::Done)
    }

    fn log(&mut self, level: &str) -> Result<Answer, Failure> {
        let level: LevelFilter = level.parse().map_err(|_| Failure {
            kind: FailureKind::Request,
            text: format!("{level:?} is none of error, warn, info, debug and trace"),
        })?;
        self.verbosity.set(level);
        let destination = self.destination;
        let message = ToWorker::Log {
            level: level.to_string(),
            destination,
        };
        self.order(&message);
        self.announcing.log(level);
        Ok(Answer::Done)
    }

    /// Has the worker do something that has no answer, and waits until it is done. One that is gone is
    /// told when it is started again.
    fn order(&mut self, message: &ToWorker) {
        let _ = self.ask(|worker| {
            worker.tell(message, None)?;
            worker.counts()
        });
    }
}

fn busy(lost: &Lost) -> Failure {
    Failure {
        kind: FailureKind::Busy,
        text: format!("{}; it is being started again", chain(lost)),
    }
}
