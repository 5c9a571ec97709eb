//! NVM commands, in blocks of 512 bytes on namespace 1.

use std::sync::Arc;

use nvmf_proto::host::Payload;
use nvmf_proto::opcode::nvm;
use nvmf_proto::sqe::Sqe;
use nvmf_proto::status::Status;

use super::{PeerError, Qpair};

/// Bytes of a logical block.
pub const BLOCK: u32 = 512;

impl Qpair {
    /// Writes `data` at block `lba`.
    ///
    /// # Errors
    /// Why no answer comes.
    pub fn write(&mut self, lba: u64, data: Vec<u8>) -> Result<Status, PeerError> {
        self.send_data(nvm::WRITE, lba, data)
    }

    /// Compares `data` with what is at block `lba`.
    ///
    /// # Errors
    /// Why no answer comes.
    pub fn compare(&mut self, lba: u64, data: Vec<u8>) -> Result<Status, PeerError> {
        self.send_data(nvm::COMPARE, lba, data)
    }

    fn send_data(&mut self, opcode: u8, lba: u64, data: Vec<u8>) -> Result<Status, PeerError> {
        let sqe = nvm_sqe(opcode, lba, data.len());
        let answer = self.run(sqe, Payload::FromHost(Arc::new(data)))?;
        Ok(answer.completion.status)
    }

    /// Reads `length` bytes from block `lba`.
    ///
    /// # Errors
    /// Why no answer comes; the inner one is the target's.
    pub fn read(&mut self, lba: u64, length: usize) -> Result<Result<Vec<u8>, Status>, PeerError> {
        let payload = Payload::ToHost {
            length: u32::try_from(length).expect("a transfer"),
            into: Vec::new(),
        };
        let answer = self.run(nvm_sqe(nvm::READ, lba, length), payload)?;
        let status = answer.completion.status;
        Ok(if status.is_success() {
            Ok(answer.data)
        } else {
            Err(status)
        })
    }

    /// Makes everything that was written durable.
    ///
    /// # Errors
    /// Why no answer comes.
    pub fn flush(&mut self) -> Result<Status, PeerError> {
        let mut sqe = Sqe::new(nvm::FLUSH, 0);
        sqe.nsid = 1.into();
        Ok(self.command(sqe)?.status)
    }

    /// Makes `length` bytes from block `lba` read as zeroes.
    ///
    /// # Errors
    /// Why no answer comes.
    pub fn write_zeroes(&mut self, lba: u64, length: usize) -> Result<Status, PeerError> {
        Ok(self
            .command(nvm_sqe(nvm::WRITE_ZEROES, lba, length))?
            .status)
    }

    /// Reads `length` bytes from block `lba` without moving them.
    ///
    /// # Errors
    /// Why no answer comes.
    pub fn verify(&mut self, lba: u64, length: usize) -> Result<Status, PeerError> {
        Ok(self.command(nvm_sqe(nvm::VERIFY, lba, length))?.status)
    }

    /// Deallocates ranges of `(lba, blocks)`.
    ///
    /// # Errors
    /// Why no answer comes.
    pub fn deallocate(&mut self, ranges: &[(u64, u32)]) -> Result<Status, PeerError> {
        let mut data = Vec::new();
        for (lba, blocks) in ranges {
            data.extend_from_slice(&[0; 4]);
            data.extend_from_slice(&blocks.to_le_bytes());
            data.extend_from_slice(&lba.to_le_bytes());
        }
        let mut sqe = Sqe::new(nvm::DATASET_MANAGEMENT, 0);
        sqe.nsid = 1.into();
        sqe.cdw10 = u32::try_from(ranges.len() - 1).expect("at most 256").into();
        sqe.cdw11 = 0b100.into();
        let answer = self.run(sqe, Payload::FromHost(Arc::new(data)))?;
        Ok(answer.completion.status)
    }

    /// Copies ranges of `(lba, blocks)`, one after the other, to block `to`.
    ///
    /// # Errors
    /// Why no answer comes.
    pub fn copy(&mut self, ranges: &[(u64, u16)], to: u64) -> Result<Status, PeerError> {
        let mut data = Vec::new();
        for (lba, blocks) in ranges {
            data.extend_from_slice(&[0; 8]);
            data.extend_from_slice(&lba.to_le_bytes());
            data.extend_from_slice(&(blocks - 1).to_le_bytes());
            data.extend_from_slice(&[0; 14]);
        }
        let mut sqe = Sqe::new(nvm::COPY, 0);
        sqe.nsid = 1.into();
        sqe.set_cdw10_11(to);
        sqe.cdw12 = u32::try_from(ranges.len() - 1).expect("at most 128").into();
        let answer = self.run(sqe, Payload::FromHost(Arc::new(data)))?;
        Ok(answer.completion.status)
    }

    /// Replaces `old` by `new` at block `lba` if it is there: how the compare ended, and the write.
    ///
    /// # Errors
    /// Why no answer comes.
    pub fn compare_and_write(
        &mut self,
        lba: u64,
        old: Vec<u8>,
        new: Vec<u8>,
    ) -> Result<(Status, Status), PeerError> {
        let mut compare = nvm_sqe(nvm::COMPARE, lba, old.len());
        compare.flags |= 0b01;
        let mut write = nvm_sqe(nvm::WRITE, lba, new.len());
        write.flags |= 0b10;
        let compare = self.submit(compare, Payload::FromHost(Arc::new(old)))?;
        let write = self.submit(write, Payload::FromHost(Arc::new(new)))?;
        let compared = self.await_answer(compare)?.completion.status;
        let written = self.await_answer(write)?.completion.status;
        Ok((compared, written))
    }
}

/// An NVM command for `length` bytes, whole blocks, from block `lba` of namespace 1.
pub fn nvm_sqe(opcode: u8, lba: u64, length: usize) -> Sqe {
    let blocks = length / BLOCK as usize;
    let mut sqe = Sqe::new(opcode, 0);
    sqe.nsid = 1.into();
    sqe.set_cdw10_11(lba);
    sqe.cdw12 = u32::try_from(blocks.saturating_sub(1))
        .expect("a transfer")
        .into();
    sqe
}
