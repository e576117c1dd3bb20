//! All there is on a disk, and what happens to it.

use super::content::Content;
use super::names::Names;
use fastrand::Rng;
use std::io::{self, ErrorKind};
use std::path::{Component, Path, PathBuf};

/// The root directory.
const ROOT: usize = 0;

#[derive(Debug)]
pub(super) struct World {
    nodes: Vec<Node>,
    random: Rng,
    pub(super) operations: u64,
    pub(super) crash_at: Option<u64>,
    pub(super) fail_at: Option<(u64, ErrorKind)>,
    pub(super) crashed: bool,
    pub(super) lies: bool,
}

#[derive(Debug)]
enum Node {
    File {
        content: Content,
        /// Whether somebody has locked it.
        locked: bool,
    },
    Dir(Names),
}

/// What happens to an operation.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    /// It fails with this, and may be half done.
    Failed(io::Error),
}

fn crashed() -> io::Error {
    io::Error::other("the disk has crashed")
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        Self {
            nodes: vec![Node::Dir(Names::default())],
            random: Rng::with_seed(seed),
            operations: 0,
            crash_at: None,
            fail_at: None,
            crashed: false,
            lies: false,
        }
    }

    /// Begins an operation that changes something.
    pub(super) fn begin(&mut self) -> io::Result<Outcome> {
        self.check()?;
        let operation = self.operations;
        self.operations += 1;
        if self.crash_at == Some(operation) {
            self.crashed = true;
            return Ok(Outcome::Failed(crashed()));
        }
        match self.fail_at {
            Some((at, kind)) if at == operation => Ok(Outcome::Failed(kind.into())),
            _ => Ok(Outcome::Done),
        }
    }

    /// Begins a change of names: it is there as a whole, or not at all.
    fn begin_names(&mut self) -> io::Result<Option<io::Error>> {
        match self.begin()? {
            Outcome::Done => Ok(None),
            // Nobody learns of it, but the directory may know.
            Outcome::Failed(error) if self.crashed => Ok(Some(error)),
            Outcome::Failed(error) => Err(error),
        }
    }

    pub(super) fn check(&self) -> io::Result<()> {
        if self.crashed { Err(crashed()) } else { Ok(()) }
    }

    /// The world after a crash.
    pub(super) fn crash(&mut self) -> Self {
        self.crashed = true;
        let mut random = self.random.fork();
        let mut after = Self::new(random.u64(..));
        self.copy_dir(ROOT, &mut after, ROOT, &mut random);
        after
    }

    fn copy_dir(&self, from: usize, after: &mut Self, to: usize, random: &mut Rng) {
        let Node::Dir(names) = &self.nodes[from] else { return };
        for (name, node) in names.crashed(random) {
            let copy = match &self.nodes[node] {
                Node::File { content, .. } => after.add_file(content.crashed(random)),
                Node::Dir(_) => {
                    let copy = after.add_dir();
                    self.copy_dir(node, after, copy, random);
                    copy
                }
            };
            after.names(to).add(&name, copy);
            after.names(to).sync();
        }
    }

    fn add_file(&mut self, content: Content) -> usize {
        self.nodes.push(Node::File { content, locked: false });
        self.nodes.len() - 1
    }

    fn add_dir(&mut self) -> usize {
        self.nodes.push(Node::Dir(Names::default()));
        self.nodes.len() - 1
    }

    /// The names of a node that is known to be a directory.
    fn names(&mut self, node: usize) -> &mut Names {
        match &mut self.nodes[node] {
            Node::Dir(names) => names,
            Node::File { .. } => unreachable!("a directory was looked up"),
        }
    }

    /// The content of a node that is known to be a file.
    pub(super) fn content(&mut self, node: usize) -> &mut Content {
        match &mut self.nodes[node] {
            Node::File { content, .. } => content,
            Node::Dir(_) => unreachable!("a file was opened"),
        }
    }

    /// Decides what becomes of what was written to a file and is not durable.
    pub(super) fn decide(&mut self, node: usize) {
        let mut random = self.random.fork();
        self.content(node).decide(&mut random);
    }

    pub(super) fn random_to(&mut self, count: usize) -> usize {
        self.random.usize(..=count)
    }

    pub(super) fn lock(&mut self, node: usize) -> io::Result<()> {
        self.check()?;
        match &mut self.nodes[node] {
            Node::File { locked, .. } if !*locked => *locked = true,
            _ => return Err(ErrorKind::WouldBlock.into()),
        }
        Ok(())
    }

    pub(super) fn unlock(&mut self, node: usize) {
        if let Node::File { locked, .. } = &mut self.nodes[node] {
            *locked = false;
        }
    }

    fn find(&self, path: &Path) -> io::Result<usize> {
        self.check()?;
        let mut node = ROOT;
        for component in path.components() {
            match component {
                Component::Normal(name) => match &self.nodes[node] {
                    Node::Dir(names) => {
                        let name = name.to_str().ok_or(ErrorKind::InvalidFilename)?;
                        node = *names.live.get(name).ok_or(ErrorKind::NotFound)?;
                    }
                    Node::File { .. } => return Err(ErrorKind::NotADirectory.into()),
                },
                Component::RootDir | Component::CurDir => {}
                _ => return Err(ErrorKind::InvalidFilename.into()),
            }
        }
        Ok(node)
    }

    pub(super) fn find_file(&self, path: &Path) -> io::Result<usize> {
        let node = self.find(path)?;
        match self.nodes[node] {
            Node::File { .. } => Ok(node),
            Node::Dir(_) => Err(ErrorKind::IsADirectory.into()),
        }
    }

    fn find_dir(&self, path: &Path) -> io::Result<usize> {
        let node = self.find(path)?;
        match self.nodes[node] {
            Node::Dir(_) => Ok(node),
            Node::File { .. } => Err(ErrorKind::NotADirectory.into()),
        }
    }

    /// The directory a path is in, and its name there.
    fn place<'a>(&self, path: &'a Path) -> io::Result<(usize, &'a str)> {
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or(ErrorKind::InvalidFilename)?;
        Ok((self.find_dir(path.parent().unwrap_or_else(|| Path::new("/")))?, name))
    }

    pub(super) fn create(&mut self, path: &Path) -> io::Result<usize> {
        let (dir, name) = self.place(path)?;
        if self.names(dir).live.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let failed = self.begin_names()?;
        let node = self.add_file(Content::default());
        self.names(dir).add(name, node);
        failed.map_or(Ok(node), Err)
    }

    pub(super) fn create_dir(&mut self, path: &Path) -> io::Result<()> {
        if self.find_dir(path).is_ok() {
            return Ok(());
        }
        let (dir, name) = self.place(path)?;
        if self.names(dir).live.contains_key(name) {
            return Err(ErrorKind::AlreadyExists.into());
        }
        let failed = self.begin_names()?;
        let node = self.add_dir();
        self.names(dir).add(name, node);
        failed.map_or(Ok(()), Err)
    }

    pub(super) fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.find(from)?;
        let ((dir, from), (to_dir, to)) = (self.place(from)?, self.place(to)?);
        if dir != to_dir {
            return Err(ErrorKind::CrossesDevices.into());
        }
        let is_empty = |node: &usize| match &self.nodes[*node] {
            Node::File { .. } => true,
            Node::Dir(names) => names.live.is_empty(),
        };
        let Node::Dir(names) = &self.nodes[dir] else {
            return Err(ErrorKind::NotADirectory.into());
        };
        if !names.live.get(to).is_none_or(is_empty) {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        let failed = self.begin_names()?;
        self.names(dir).rename(from, to);
        failed.map_or(Ok(()), Err)
    }

    pub(super) fn remove(&mut self, path: &Path, is_dir: bool) -> io::Result<()> {
        let node = self.find(path)?;
        if matches!(self.nodes[node], Node::Dir(_)) != is_dir {
            return Err(ErrorKind::InvalidInput.into());
        }
        let (dir, name) = self.place(path)?;
        let failed = self.begin_names()?;
        self.names(dir).remove(name);
        failed.map_or(Ok(()), Err)
    }

    pub(super) fn list(&mut self, dir: &Path) -> io::Result<Vec<String>> {
        let dir = self.find_dir(dir)?;
        Ok(self.names(dir).live.keys().cloned().collect())
    }

    pub(super) fn sync_dir(&mut self, path: &Path) -> io::Result<()> {
        let dir = self.find_dir(path)?;
        match self.begin()? {
            Outcome::Done if self.lies => {}
            Outcome::Done => self.names(dir).sync(),
            Outcome::Failed(error) => return Err(error),
        }
        Ok(())
    }

    pub(super) fn contents(&mut self, path: &Path) -> Option<Vec<u8>> {
        let node = self.find_file(path).ok()?;
        Some(self.content(node).live().to_vec())
    }

    pub(super) fn put(&mut self, path: &Path, bytes: &[u8]) {
        let mut dir = ROOT;
        for component in path.parent().into_iter().flat_map(Path::components) {
            let Component::Normal(name) = component else { continue };
            let name = name.to_str().expect("names are UTF-8");
            let found = self.names(dir).live.get(name).copied();
            let node = found.unwrap_or_else(|| self.add_dir());
            self.names(dir).add(name, node);
            self.names(dir).sync();
            dir = node;
        }
        let name = path.file_name().and_then(|name| name.to_str()).expect("names are UTF-8");
        let node = self.add_file(Content::durable(bytes));
        self.names(dir).add(name, node);
        self.names(dir).sync();
    }

    pub(super) fn files(&self) -> Vec<PathBuf> {
        let (mut files, mut dirs) = (Vec::new(), vec![(PathBuf::from("/"), ROOT)]);
        while let Some((path, dir)) = dirs.pop() {
            let Node::Dir(names) = &self.nodes[dir] else { continue };
            for (name, node) in &names.live {
                match self.nodes[*node] {
                    Node::File { .. } => files.push(path.join(name)),
                    Node::Dir(_) => dirs.push((path.join(name), *node)),
                }
            }
        }
        files.sort();
        files
    }
}
