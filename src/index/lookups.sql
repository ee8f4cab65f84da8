-- Made after the rows, which is faster than keeping them up while rows come in.
-- With all that a list shows, so that it reads no manifest.
CREATE INDEX run_index_run ON run_index (job_id, run_id, status, schema_version, job_type);
CREATE INDEX jobs_fold ON jobs (fold);
CREATE INDEX runs_run ON runs (run_id);
CREATE INDEX runs_fold ON runs (job_id, fold);
CREATE INDEX run_index_status ON run_index (status, job_id);
CREATE INDEX run_index_version ON run_index (schema_version);
CREATE INDEX run_index_inputs ON run_index (inputs_hash);
CREATE INDEX files_sha256 ON files (sha256);
CREATE INDEX revisions_sha256 ON revisions (sha256);
CREATE INDEX migrations_time ON migrations (time);
CREATE INDEX migrations_operation ON migrations (operation);
CREATE INDEX entries_time ON entries (time);
CREATE INDEX entries_operation ON entries (operation);
CREATE INDEX entries_run ON entries (job_id, run_id);
