//! Sealing the open segment and starting the next.

use std::sync::Arc;

use crate::error::{AppendError, Failure};
use crate::files;
use crate::index::{Index, Source};
use crate::recovery;
use crate::segment::{self, SEGMENT_HEADER_BYTES, Segment};
use crate::writer::{Writer, write_zeros};

impl Writer {
    /// Seals the open segment and starts the next, with room for a frame of `len` bytes.
    pub(crate) fn roll(&mut self, len: u64) -> Result<(), AppendError> {
        let path = files::segment(&self.dir, self.head.commit.next());
        let temporary = files::temporary(&path);
        let header = segment::encode_header(&self.head);
        // The new segment under a name that nobody reads. A full disk shows itself here, with nothing changed.
        let made = recovery::create_synced(&*self.storage, &temporary, &header).and_then(|file| {
            let upto = SEGMENT_HEADER_BYTES as u64 + len;
            write_zeros(&*file, SEGMENT_HEADER_BYTES as u64, upto).map_err(Failure::of("write", &temporary))?;
            // The header is durable; the zeros become so with the first frame.
            Ok((file, upto))
        });
        let (file, allocated) = match made {
            Ok(made) => made,
            Err(failure) if failure.is_disk_full() => {
                // Ours alone, and in nobody's way if it stays.
                let _ = self.storage.remove(&temporary);
                return Err(AppendError::DiskFull(failure));
            }
            Err(failure) => return Err(self.stop_with(failure)),
        };
        // A sealed segment ends with its last commit, and does so before its successor exists.
        let (old, end) = (self.file.clone(), self.end);
        old.set_len(end).map_err(|error| self.stop("cut", error))?;
        old.sync_data().map_err(|error| self.stop("sync", error))?;
        self.storage.rename(&temporary, &path).map_err(|error| self.stop("rename", error))?;
        self.storage.sync_dir(&self.dir).map_err(|error| self.stop("sync the folder of", error))?;
        // From here a crash finds the new segment, empty. The head file is made to name the last commit of the old
        // one, durably, so that recovery never has to look for torn bytes in a sealed segment.
        self.head_file.anchor(&self.noted).map_err(|failure| self.stop_with(failure))?;
        let index = self.write_index()?;
        let next =
            Segment { file: file.clone(), path: path.clone(), first: self.head.commit.next(), before: self.head };
        self.segment = next.first;
        self.view.seal(index, next);
        self.file = file;
        self.path = path;
        self.end = SEGMENT_HEADER_BYTES as u64;
        self.allocated = allocated;
        Ok(())
    }

    fn write_index(&mut self) -> Result<Index, AppendError> {
        let (image, first) = {
            let inner = self.view.read();
            (inner.open.index_image(self.head.hash), inner.open.segment.first)
        };
        let path = files::index(&self.dir, first);
        // It can be rebuilt, so a disk that is full just now costs memory and not the ledger.
        let source = match recovery::replace(&*self.storage, &path, &image) {
            Ok(file) => Source::File(file),
            Err(_) => Source::Memory(image.clone()),
        };
        Index::load(source).or_else(|_| Index::load(Source::Memory(image))).map_err(|_| {
            let error = std::io::Error::other("the key index just made cannot be read");
            self.stop_with(Failure { doing: "index", path, source: Arc::new(error) })
        })
    }
}
