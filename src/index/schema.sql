-- The tables of index.sqlite. Every row but those of marks follows from the store; none is kept
-- anywhere else.
CREATE TABLE meta (name TEXT PRIMARY KEY, value) WITHOUT ROWID;
CREATE TABLE jobs (job_id TEXT PRIMARY KEY, fold TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE runs (
  job_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  fold TEXT NOT NULL,
  run_seq INTEGER NOT NULL,
  first_entry INTEGER NOT NULL,
  last_entry INTEGER NOT NULL,
  last_leaf TEXT NOT NULL,
  manifest_sha256 TEXT NOT NULL,
  files_sha256 TEXT NOT NULL,
  exceptions_sha256 TEXT,
  recorded_at TEXT NOT NULL,
  changed_at TEXT NOT NULL,
  PRIMARY KEY (job_id, run_id)
) WITHOUT ROWID;
-- Its rows hold whole manifests, which only a table with integer keys keeps on few pages; the key is
-- the run's first log entry, so that the order of rows follows from the store too.
CREATE TABLE run_index (
  first_entry INTEGER PRIMARY KEY,
  job_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  job_ref TEXT,
  job_type TEXT,
  status TEXT,
  inputs_hash TEXT,
  artifact_dir TEXT NOT NULL,
  manifest_json TEXT NOT NULL,
  schema_version TEXT,
  manifest_sha256 TEXT NOT NULL,
  started_at TEXT,
  finished_at TEXT
);
CREATE TABLE files (
  job_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  path TEXT NOT NULL,
  role TEXT NOT NULL,
  bytes INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  blake3 TEXT NOT NULL,
  PRIMARY KEY (job_id, run_id, path)
) WITHOUT ROWID;
CREATE TABLE revisions (
  job_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  run_seq INTEGER NOT NULL,
  sha256 TEXT NOT NULL,
  entry INTEGER NOT NULL,
  PRIMARY KEY (job_id, run_id, run_seq)
) WITHOUT ROWID;
CREATE TABLE migrations (
  entry INTEGER PRIMARY KEY,
  job_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  time TEXT NOT NULL,
  from_version TEXT NOT NULL,
  to_version TEXT NOT NULL,
  path TEXT NOT NULL,
  pack TEXT NOT NULL,
  pack_version TEXT NOT NULL,
  pack_digest TEXT NOT NULL,
  before_sha256 TEXT NOT NULL,
  after_sha256 TEXT NOT NULL,
  operation TEXT NOT NULL
);
CREATE TABLE entries (
  entry INTEGER PRIMARY KEY,
  kind TEXT NOT NULL,
  time TEXT NOT NULL,
  job_id TEXT,
  run_id TEXT,
  run_seq INTEGER,
  operation TEXT NOT NULL,
  batch INTEGER NOT NULL,
  before_sha256 TEXT,
  after_sha256 TEXT,
  actor TEXT NOT NULL,
  reason TEXT
);
-- What the kernel told of a manifest when its row was made, by the run's first log entry: where it
-- tells the same again the manifest need not be read. No answer rests on it, and of two equal indexes
-- one may have marks that the other lacks.
CREATE TABLE marks (
  first_entry INTEGER PRIMARY KEY,
  mark BLOB NOT NULL
);
CREATE TABLE problems (
  job_id TEXT NOT NULL,
  run_id TEXT NOT NULL,
  code TEXT NOT NULL,
  detail TEXT NOT NULL,
  PRIMARY KEY (job_id, run_id, code)
) WITHOUT ROWID;
