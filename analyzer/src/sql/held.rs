//! Files for DataFusion that are opened through the directory that holds them, not by a path: what a path means may change while a query
//! runs, may be a link, and not every path is a URL.

use std::collections::HashMap;
use std::fmt;
use std::fs::File;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use datafusion::datasource::listing::PartitionedFile;
use datafusion::error::Result as QueryResult;
use datafusion::execution::object_store::ObjectStoreUrl;
use datafusion::object_store::path::Path as ObjectPath;
use datafusion::object_store::{
    Attributes, CopyOptions, Error, GetOptions, GetResult, GetResultPayload, ListResult, MultipartUpload,
    ObjectMeta, ObjectStore, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use futures::StreamExt;
use futures::stream::{self, BoxStream};
use retrospan_formats::reader::PartBytes;

/// Opens a file, each time anew.
pub trait Source: fmt::Debug + Send + Sync {
    /// A handle of its own.
    fn open(&self) -> io::Result<File>;
}

/// A file that can be opened, with what is known of it.
#[derive(Clone, Debug)]
struct Held {
    source: Arc<dyn Source>,
    path: PathBuf,
    bytes: u64,
}

/// Some files, each by a name that only this store knows.
#[derive(Debug)]
pub struct HeldFiles {
    url: ObjectStoreUrl,
    files: HashMap<ObjectPath, Held>,
}

impl HeldFiles {
    /// A store of these files, given with their paths (for messages) and sizes.
    pub fn new(files: impl Iterator<Item = (Arc<dyn Source>, PathBuf, u64)>) -> QueryResult<HeldFiles> {
        static STORES: AtomicU64 = AtomicU64::new(0);
        let store = STORES.fetch_add(1, Ordering::Relaxed);
        let url = ObjectStoreUrl::parse(format!("retrospan://{store}"))?;
        let held = |(index, (source, path, bytes))| (location(store, index), Held { source, path, bytes });
        Ok(HeldFiles { url, files: files.enumerate().map(held).collect() })
    }

    /// What it is to be registered as.
    pub fn url(&self) -> &ObjectStoreUrl {
        &self.url
    }

    /// The file of that number, as a scan wants it.
    pub fn file(&self, index: usize, bytes: u64) -> PartitionedFile {
        let store = self.url.as_str().trim_start_matches("retrospan://").trim_end_matches('/');
        let mut file = PartitionedFile::new(String::new(), bytes);
        file.object_meta.location = ObjectPath::from(format!("{store}/{index}"));
        file
    }

    fn find(&self, location: &ObjectPath) -> Result<Held> {
        let missing =
            || Error::NotFound { path: location.to_string(), source: "no such file is held".into() };
        self.files.get(location).cloned().ok_or_else(missing)
    }
}

fn location(store: u64, index: usize) -> ObjectPath {
    ObjectPath::from(format!("{store}/{index}"))
}

impl fmt::Display for HeldFiles {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} files", self.files.len())
    }
}

/// Reads ranges of a file on a thread that may wait.
async fn read(held: Held, ranges: Vec<Range<u64>>) -> Result<Vec<Bytes>> {
    let read = move || {
        let file = PartBytes::new(held.source.open().map_err(|e| named(&held, &e))?, held.bytes);
        let one = |range: Range<u64>| {
            let too_long = range.end > held.bytes || range.start > range.end;
            let length = usize::try_from(range.end.saturating_sub(range.start));
            let (Ok(length), false) = (length, too_long) else {
                return Err(io::Error::from(io::ErrorKind::UnexpectedEof));
            };
            let mut buffer = vec![0; length];
            file.read_exact_at(&mut buffer, range.start)?;
            Ok(Bytes::from(buffer))
        };
        ranges.into_iter().map(one).collect::<io::Result<Vec<_>>>().map_err(|e| named(&held, &e))
    };
    tokio::task::spawn_blocking(read)
        .await
        .map_err(|e| Error::Generic { store: "capture", source: Box::new(e) })?
}

fn named(held: &Held, error: &io::Error) -> Error {
    Error::Generic { store: "capture", source: format!("{}: {error}", held.path.display()).into() }
}

fn read_only(operation: &str) -> Error {
    Error::NotImplemented { operation: operation.to_owned(), implementer: "a capture".to_owned() }
}

#[async_trait]
impl ObjectStore for HeldFiles {
    async fn get_opts(&self, location: &ObjectPath, options: GetOptions) -> Result<GetResult> {
        let held = self.find(location)?;
        let wrong = |e| Error::Generic { store: "capture", source: Box::new(e) };
        let range = options.range.map(|range| range.as_range(held.bytes)).transpose().map_err(wrong)?;
        let range = range.unwrap_or(0..held.bytes);
        let meta = ObjectMeta { location: location.clone(), ..self.file(0, held.bytes).object_meta };
        let ranges = if options.head { Vec::new() } else { vec![range.clone()] };
        let read: Vec<Result<Bytes>> = read(held, ranges).await?.into_iter().map(Ok).collect();
        let payload = GetResultPayload::Stream(stream::iter(read).boxed());
        Ok(GetResult { payload, meta, range, attributes: Attributes::default() })
    }

    async fn get_ranges(&self, location: &ObjectPath, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        read(self.find(location)?, ranges.to_vec()).await
    }

    async fn put_opts(&self, _: &ObjectPath, _: PutPayload, _: PutOptions) -> Result<PutResult> {
        Err(read_only("put_opts"))
    }

    async fn put_multipart_opts(
        &self,
        _: &ObjectPath,
        _: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        Err(read_only("put_multipart_opts"))
    }

    fn delete_stream(
        &self,
        _: BoxStream<'static, Result<ObjectPath>>,
    ) -> BoxStream<'static, Result<ObjectPath>> {
        stream::iter([Err(read_only("delete_stream"))]).boxed()
    }

    fn list(&self, _: Option<&ObjectPath>) -> BoxStream<'static, Result<ObjectMeta>> {
        stream::iter([Err(read_only("list"))]).boxed()
    }

    async fn list_with_delimiter(&self, _: Option<&ObjectPath>) -> Result<ListResult> {
        Err(read_only("list_with_delimiter"))
    }

    async fn copy_opts(&self, _: &ObjectPath, _: &ObjectPath, _: CopyOptions) -> Result<()> {
        Err(read_only("copy_opts"))
    }
}
