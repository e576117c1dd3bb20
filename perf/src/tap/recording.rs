//! The file one direction of a connection is recorded in. It never fails the connection: what
//! passes matters more than what is kept, and what was not kept is told.

use std::path::Path;
use tokio::fs::File;
use tokio::io::AsyncWriteExt;

/// A file that takes up to a limit of bytes.
#[derive(Debug)]
pub(super) struct Recording {
    /// `None` after an error.
    file: Option<File>,
    limit: u64,
    recorded_bytes: u64,
    error: Option<String>,
}

impl Recording {
    pub(super) async fn create(path: &Path, limit: u64) -> Self {
        let created = File::create_new(path).await;
        let error = created.as_ref().err().map(|error| format!("{}: {error}", path.display()));
        Self { file: created.ok(), limit, recorded_bytes: 0, error }
    }

    /// Keeps what of `bytes` is below the limit.
    pub(super) async fn write(&mut self, bytes: &[u8]) {
        let left = self.limit - self.recorded_bytes;
        let kept = usize::try_from(left).map_or(bytes, |left| &bytes[..bytes.len().min(left)]);
        let Some(file) = self.file.as_mut().filter(|_| !kept.is_empty()) else {
            return;
        };
        match file.write_all(kept).await {
            Ok(()) => self.recorded_bytes += kept.len() as u64,
            Err(error) => self.fail(&error),
        }
    }

    /// Ends the recording: how many bytes it holds, and what ended it early.
    pub(super) async fn finish(mut self) -> (u64, Option<String>) {
        if let Some(Err(error)) = match &mut self.file {
            Some(file) => Some(file.flush().await),
            None => None,
        } {
            self.fail(&error);
        }
        (self.recorded_bytes, self.error)
    }

    fn fail(&mut self, error: &std::io::Error) {
        self.file = None;
        self.error = Some(error.to_string());
    }
}
