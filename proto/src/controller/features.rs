//! Features (Base 2.0 §5.27.1): what a host can set, and what it reads back.
//!
//! Nothing is saved across resets. The Keep Alive Timer and the event configuration live with what
//! they configure; the rest stands here. Values that mean nothing to us (arbitration, temperature
//! thresholds, error recovery) are kept so that a host reads what it wrote.

use std::time::{Duration, Instant};

use super::{Config, Controller, Environment, Kind, Outcome, namespace};
use crate::cqe::Completion;
use crate::sqe::{Data, Sqe};
use crate::status::Status;

#[cfg(test)]
mod tests;

/// A feature that one of our controllers has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Feature {
    /// 01h.
    Arbitration,
    /// 02h: the one power state there is.
    PowerManagement,
    /// 04h.
    TemperatureThreshold,
    /// 05h.
    ErrorRecovery,
    /// 06h.
    VolatileWriteCache,
    /// 07h.
    NumberOfQueues,
    /// 0Ah.
    WriteAtomicity,
    /// 0Bh.
    AsyncEventConfiguration,
    /// 0Fh.
    KeepAliveTimer,
    /// 19h: the one combination of I/O command sets there is.
    CommandSetProfile,
    /// 81h: fixed by Connect.
    HostIdentifier,
}

/// Which value of a feature is asked for (SEL).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Select {
    /// The one in force.
    Current,
    /// The one after a reset.
    Default,
    /// The saved one: none is, so the default.
    Saved,
    /// Not a value: what can be done with it.
    Supported,
}

/// Get Features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureRead {
    /// Which feature.
    pub feature: Feature,
    /// Which value.
    pub select: Select,
    /// Dword 11, whose meaning depends on the feature.
    pub argument: u32,
}

/// Set Features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeatureWrite {
    /// Which feature.
    pub feature: Feature,
    /// Dword 11.
    pub value: u32,
}

impl Feature {
    /// The features of a controller, by identifier.
    pub(super) const ALL: [(u8, Self); 11] = [
        (0x01, Self::Arbitration),
        (0x02, Self::PowerManagement),
        (0x04, Self::TemperatureThreshold),
        (0x05, Self::ErrorRecovery),
        (0x06, Self::VolatileWriteCache),
        (0x07, Self::NumberOfQueues),
        (0x0a, Self::WriteAtomicity),
        (0x0b, Self::AsyncEventConfiguration),
        (0x0f, Self::KeepAliveTimer),
        (0x19, Self::CommandSetProfile),
        (0x81, Self::HostIdentifier),
    ];

    fn parse(sqe: &Sqe, kind: Kind) -> Result<Self, Status> {
        let [fid, ..] = sqe.cdw10.get().to_le_bytes();
        Self::ALL
            .iter()
            .find(|(known, feature)| *known == fid && feature.exists_on(kind))
            .map(|&(_, feature)| feature)
            .ok_or(Status::INVALID_FIELD.dnr())
    }

    pub(super) fn exists_on(self, kind: Kind) -> bool {
        kind == Kind::Io || matches!(self, Self::AsyncEventConfiguration | Self::KeepAliveTimer)
    }
}

impl FeatureRead {
    /// Reads a Get Features entry.
    ///
    /// # Errors
    /// Invalid Field for features and selections that do not exist.
    pub fn parse(sqe: &Sqe, kind: Kind) -> Result<Self, Status> {
        let feature = Feature::parse(sqe, kind)?;
        let argument = sqe.cdw11.get();
        let select = match sqe.cdw10.get() >> 8 & 0b111 {
            0 => Select::Current,
            1 => Select::Default,
            2 => Select::Saved,
            3 => Select::Supported,
            _ => return Err(Status::INVALID_FIELD.dnr()),
        };
        // Over fabrics host identifiers have 128 bits, which the host must know (EXHID).
        if feature == Feature::HostIdentifier && select != Select::Supported && argument & 1 == 0 {
            return Err(Status::INVALID_FIELD.dnr());
        }
        Ok(Self {
            feature,
            select,
            argument,
        })
    }

    /// Bytes that the command moves.
    pub fn data(&self) -> Data {
        match (self.feature, self.select) {
            (_, Select::Supported) => Data::None,
            (Feature::HostIdentifier, _) => Data::ToHost(HOST_IDENTIFIER_SIZE),
            _ => Data::None,
        }
    }
}

impl FeatureWrite {
    /// Reads a Set Features entry.
    ///
    /// # Errors
    /// Feature Identifier Not Saveable when asked to save; Command Sequence Error for the host
    /// identifier, which Connect has set; Invalid Field for features that do not exist.
    pub fn parse(sqe: &Sqe, kind: Kind) -> Result<Self, Status> {
        let feature = Feature::parse(sqe, kind)?;
        if sqe.cdw10.get() & SAVE != 0 {
            Err(Status::FEATURE_NOT_SAVEABLE.dnr())
        } else if feature == Feature::HostIdentifier {
            Err(Status::COMMAND_SEQUENCE_ERROR.dnr())
        } else {
            Ok(Self {
                feature,
                value: sqe.cdw11.get(),
            })
        }
    }
}

/// The features that have no better place.
#[derive(Debug)]
pub(super) struct Features {
    current: Settings,
    default: Settings,
    /// The queues can no longer be renumbered.
    queues_in_use: bool,
}

#[derive(Debug, Clone, Copy)]
struct Settings {
    arbitration: u32,
    power: u32,
    /// Kelvin.
    over_temperature: u32,
    /// Kelvin.
    under_temperature: u32,
    error_recovery: u32,
    write_cache: bool,
    /// I/O queues, at least 1.
    queues: u16,
    write_atomicity: u32,
}

impl Settings {
    fn temperature(&mut self, argument: u32) -> Result<&mut u32, Status> {
        let sensor = argument >> 16 & 0xf;
        match argument >> 20 & 0b11 {
            _ if !matches!(sensor, 0 | 0xf) => Err(Status::INVALID_FIELD.dnr()),
            0 => Ok(&mut self.over_temperature),
            1 => Ok(&mut self.under_temperature),
            _ => Err(Status::INVALID_FIELD.dnr()),
        }
    }
}

impl Features {
    pub(super) fn new(config: &Config) -> Self {
        let default = Settings {
            arbitration: ARBITRATION_NO_LIMIT,
            power: 0,
            over_temperature: 0xffff,
            under_temperature: 0,
            error_recovery: 0,
            write_cache: true,
            queues: config.max_io_queues.max(1),
            write_atomicity: 0,
        };
        Self {
            current: default,
            default,
            queues_in_use: false,
        }
    }

    /// Back to the defaults at a Controller Reset.
    pub(super) fn reset(&mut self) {
        self.current = self.default;
        self.queues_in_use = false;
    }

    pub(super) fn queues(&self) -> u16 {
        self.current.queues
    }

    pub(super) fn queue_created(&mut self) {
        self.queues_in_use = true;
    }

    pub(super) fn write_cache(&self) -> bool {
        self.current.write_cache
    }

    /// Number of Queues (07h): as many as asked for, up to what there is.
    fn request_queues(&mut self, value: u32) -> Result<u64, Status> {
        let (submission, completion) = (value & 0xffff, value >> 16);
        if submission == 0xffff || completion == 0xffff {
            return Err(Status::INVALID_FIELD.dnr());
        }
        if self.queues_in_use {
            return Err(Status::COMMAND_SEQUENCE_ERROR.dnr());
        }
        // Over fabrics queues come in pairs.
        let pairs = submission.min(completion) + 1;
        self.current.queues = u16::try_from(pairs)
            .unwrap_or(u16::MAX)
            .min(self.default.queues);
        Ok(queue_counts(self.current.queues))
    }
}

impl Controller {
    /// Executes Get Features.
    pub(super) fn read_feature(
        &self,
        read: &FeatureRead,
        env: &Environment<'_>,
    ) -> Result<Outcome, Status> {
        if read.feature == Feature::VolatileWriteCache {
            require_cache(env)?;
        }
        let (mut settings, events, kato) = match read.select {
            Select::Current => (
                self.features.current,
                self.events.configuration(),
                self.keep_alive.kato(),
            ),
            Select::Default | Select::Saved => (
                self.features.default,
                self.events.default_configuration(),
                self.keep_alive.default_kato(),
            ),
            Select::Supported => return Ok(success(supported(read.feature))),
        };
        Ok(success(match read.feature {
            Feature::Arbitration => settings.arbitration,
            Feature::PowerManagement => settings.power,
            Feature::TemperatureThreshold => *settings.temperature(read.argument)?,
            Feature::ErrorRecovery => settings.error_recovery,
            Feature::VolatileWriteCache => settings.write_cache.into(),
            Feature::NumberOfQueues => {
                return Ok(Outcome::Done(Completion::success(queue_counts(
                    settings.queues,
                ))));
            }
            Feature::WriteAtomicity => settings.write_atomicity,
            Feature::AsyncEventConfiguration => events,
            Feature::KeepAliveTimer => kato,
            Feature::CommandSetProfile => 0,
            Feature::HostIdentifier => return Ok(Outcome::Data(self.config.hostid.to_vec())),
        }))
    }

    /// Executes Set Features.
    pub(super) fn write_feature(
        &mut self,
        write: &FeatureWrite,
        env: &Environment<'_>,
        now: Instant,
    ) -> Result<Outcome, Status> {
        let settings = &mut self.features.current;
        let value = write.value;
        let refuse = |refused: bool| match refused {
            true => Err(Status::INVALID_FIELD.dnr()),
            false => Ok(()),
        };
        match write.feature {
            Feature::Arbitration => settings.arbitration = value,
            Feature::PowerManagement => {
                refuse(value & POWER_STATE != 0)?;
                settings.power = value & POWER_HINT;
            }
            Feature::TemperatureThreshold => *settings.temperature(value)? = value & 0xffff,
            Feature::ErrorRecovery => {
                refuse(value & DEALLOCATED_ERROR != 0)?;
                settings.error_recovery = value & 0xffff;
            }
            Feature::VolatileWriteCache => {
                require_cache(env)?;
                settings.write_cache = value & 1 != 0;
            }
            Feature::NumberOfQueues => {
                let granted = self.features.request_queues(value)?;
                return Ok(Outcome::Done(Completion::success(granted)));
            }
            Feature::WriteAtomicity => settings.write_atomicity = value & 1,
            Feature::AsyncEventConfiguration => self.events.configure(value),
            Feature::KeepAliveTimer => {
                self.keep_alive
                    .set(Duration::from_millis(value.into()), now);
            }
            Feature::CommandSetProfile => {
                if value & COMMAND_SET_COMBINATION != 0 {
                    return Err(Status::COMMAND_SET_COMBINATION_REJECTED.dnr());
                }
            }
            Feature::HostIdentifier => return Err(Status::COMMAND_SEQUENCE_ERROR.dnr()),
        }
        Ok(success(0))
    }
}

/// Without a volatile write cache the feature does not exist (Base 2.0 §5.27.1.4).
fn require_cache(env: &Environment<'_>) -> Result<(), Status> {
    if namespace::any_volatile_cache(env.namespaces) {
        Ok(())
    } else {
        Err(Status::INVALID_FIELD.dnr())
    }
}

/// What can be done with a feature (Base 2.0 §5.15): nothing is saveable or of a
/// namespace.
fn supported(feature: Feature) -> u32 {
    if feature == Feature::HostIdentifier {
        0
    } else {
        CHANGEABLE
    }
}

/// Dword 0 of Number of Queues: both counts, 0's based.
fn queue_counts(queues: u16) -> u64 {
    let count = u64::from(queues.saturating_sub(1));
    count << 16 | count
}

fn success(result: u32) -> Outcome {
    Outcome::Done(Completion::success(result.into()))
}

/// Bytes of a host identifier.
const HOST_IDENTIFIER_SIZE: u32 = 16;
/// Dword 10, bit 31 of Set Features: save across resets.
const SAVE: u32 = 1 << 31;
/// Dword 0, bit 2 of supported capabilities.
const CHANGEABLE: u32 = 1 << 2;
/// Arbitration burst: no limit.
const ARBITRATION_NO_LIMIT: u32 = 0b111;
/// Power state, of which there is only 0.
const POWER_STATE: u32 = 0x1f;
/// Workload hint.
const POWER_HINT: u32 = 0b111 << 5;
/// An error for reading deallocated blocks (DULBE), which NSFEAT says we do not give.
const DEALLOCATED_ERROR: u32 = 1 << 16;
/// Index of the I/O command set combination, of which there is only 0.
const COMMAND_SET_COMBINATION: u32 = 0x1ff;
