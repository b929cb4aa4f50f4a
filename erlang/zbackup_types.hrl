%% The types of zbackup: what requests, results and messages consist of. Only zbackup.erl includes this; others name
%% them as `zbackup:request()'.

%% A binary in UTF-8 or a string. Also for paths.
-type text() :: unicode:unicode_binary() | string().

%% What to back up. The keys can be binaries too, and `undefined' is the same as absence.
-type request() ::
    #{
        site := text(),                      % the first part of every backup's name
        backup_dir := text(),                % made when it is not there
        media_dir => text() | undefined,
        config_files => [text()] | undefined,
        security_dir => text() | undefined,
        timezone => text() | undefined,      % as Europe/Amsterdam; else that of the machine
        database => database() | undefined,
        encryption => encryption() | undefined,
        offsite => offsite() | undefined,
        revisions => revisions() | undefined,
        database_only => boolean() | undefined,
        day => calendar:date() | undefined,  % the day that names the backup; else today
        prove => boolean() | undefined       % before it takes the place of anything
    }
    | #{
        config := text(),                    % the path of a site.toml that says what the site is
        database_only => boolean() | undefined,
        day => calendar:date() | undefined,
        prove => boolean() | undefined
    }
    | #{
        backup_dir := text(),                % enough to list, verify, push and pull
        encryption => encryption() | undefined,
        offsite => offsite() | undefined
    }
    | #{
        database := database(),              % enough to prune revisions
        revisions => revisions() | undefined
    }.

-type database() :: #{
    user := text(),
    dbname := text(),
    host => text() | undefined,              % localhost
    port => inet:port_number() | undefined,  % 5432
    password => text() | undefined,
    schema => text() | undefined,            % public
    pg_dump => text() | undefined,           % the command; pg_dump in the PATH
    psql => text() | undefined               % ignored: a restore needs no psql any more
}.

-type encryption() :: #{password := text()} | #{password_file := text()}.

%% A store that speaks S3. The URL is `s3://bucket/prefix', or the address of the folder or of the list in
%% it: `https://host/bucket/prefix/backup.json'.
-type offsite() :: #{
    url := text(),
    access_key_id := text(),
    secret_access_key := text(),
    endpoint => text() | undefined,          % as https://host; else that of the URL, or Amazon's
    region => text() | undefined,
    virtual_host => boolean() | undefined,   % whether the bucket is a part of the host name
    timeout => pos_integer() | undefined,    % seconds in which nothing moves
    patience => non_neg_integer() | undefined  % seconds in which a store that fails is tried again
}.

%% Without `names' all backups, and without `only' all parts of them.
-type push_options() :: #{
    names => [text()] | undefined,
    only => [part()] | undefined
}.

%% The name `recent' is that of the newest. When the request is for a whole site, backups of others in the
%% list only come by their names. Without `require_encrypted', a backup that is not encrypted is refused when
%% the request has a password.
-type pull_options() :: #{
    names => [text()] | undefined,
    require_encrypted => boolean() | undefined
}.

%% How long revisions are kept: the names of the configuration of mod_backup.
-type revisions() :: #{
    revision_retention_months => pos_integer(),      % 18
    user_revision_retention_days => pos_integer(),   % 90
    user_deletion_retention_days => 1..30,           % 30
    user_identity_types => [text()]                  % ["username_pw"]
}.

%% `dry_run' only counts; `now' is the time to go by, in seconds since 1970, else that of the database.
-type prune_options() :: #{dry_run => boolean(), now => integer() | undefined}.

%% `force' replaces an output that exists.
-type file_options() :: #{force => boolean()}.

%% Without `only', all that the backup has. With the `timestamp' of a backup, a newer one that got its name
%% meanwhile is not restored.
-type restore_options() :: #{
    only => [piece()],
    timestamp => integer() | undefined,
    trust_dump => boolean()                  % consent to load a dump of which nothing proves who made it
}.
-type piece() :: database | files | config | security.

%% A `drill' rehearses the restore of each dump that is proven: it is loaded into the server of the request,
%% in a transaction that is rolled back.
%% `record' keeps in the list what came out, unless another job has the folder for longer than some seconds (a
%% backup, a restore): `recorded' in the result says whether that was done.
-type verify_options() :: #{drill => boolean(), trust_dump => boolean(), record => boolean()}.

-type job() :: reference().
-type error() :: {error, kind(), Message :: unicode:unicode_binary()}.
-type kind() ::
    cancelled | in_progress | wrong_password | no_password | damaged | unknown_backup | not_found
    | exists | permission | no_space | usage | database | io | internal
    | unreachable | store.                   % the offsite store is not there, or refuses

-type phase() ::
    database | config | files | verify | unpack | load | place | encrypt | decrypt | upload | download.

%% Bytes done and in all in this phase, and bytes a second.
-type progress() :: #{
    phase := phase(),
    done := non_neg_integer(),
    total := non_neg_integer() | undefined,
    rate := non_neg_integer()
}.

-type part() :: database | config | files.

%% Of a backup a report, of a proof `verified', of a file the others.
-type result() ::
    report()
    | #{ok := boolean(), backups := [verified()], recorded => boolean()}
    | restore_report()
    | #{settled := settled() | undefined}
    | pushed()
    | pulled()
    | listing()
    | plan()
    | #{removed := [unicode:unicode_binary()]}
    | #{output := unicode:unicode_binary()}
    | opened()
    | pruned().

-type report() :: #{
    backup := entry(),
    made := [made()],
    skipped := [skipped()],                  % what is not in the backup as it was on the disk
    warnings := [unicode:unicode_binary()]
}.

%% Times are in seconds since 1970, hashes lowercase hexadecimal SHA-256.
-type entry() :: #{
    name := unicode:unicode_binary(),
    timestamp := integer(),
    database := stored_part() | undefined,
    config := stored_part() | undefined,
    files := stored_part() | undefined,
    files_timestamp := integer() | undefined,
    is_encrypted := boolean(),
    is_filestore_uploaded := boolean(),
    duration_ms := non_neg_integer() | undefined,
    writer := unicode:unicode_binary() | undefined,
    verified := verification() | undefined,
    atom() => term()
}.

%% What the last proof came to that was recorded.
-type verification() :: #{
    at := integer(),
    ok := boolean(),
    problem := unicode:unicode_binary() | undefined
}.

-type stored_part() :: #{
    file := unicode:unicode_binary(),
    sha256 := binary() | undefined,
    size := non_neg_integer() | undefined
}.

-type made() :: #{
    part := part(),
    file := unicode:unicode_binary(),
    source_bytes := non_neg_integer(),
    size := non_neg_integer(),
    duration_ms := non_neg_integer()
}.

-type skipped() :: #{path := unicode:unicode_binary(), reason := unicode:unicode_binary()}.

-type verified() :: #{
    name := unicode:unicode_binary(),
    timestamp := integer() | undefined,
    ok := boolean(),
    parts := [verified_part()],
    problem := unicode:unicode_binary() | undefined
}.

-type verified_part() :: #{
    part := part(),
    file := unicode:unicode_binary(),
    ok := boolean(),
    encryption := none | z1 | z2 | undefined,
    contents := #{entries := non_neg_integer(), bytes := non_neg_integer()} | undefined,
    problem := unicode:unicode_binary() | undefined,
    kind := kind() | undefined,
    note := unicode:unicode_binary() | undefined,
    rehearsed := [table_rows()] | undefined
}.

-type restore_report() :: #{
    backup := entry(),
    restored := [restored()],
    tables := [table_rows()],
    skipped := [skipped()],                  % what is not on the disk as it is in the backup
    warnings := [unicode:unicode_binary()]
}.

%% Files and folders, or rows; and bytes of them, or of the dump.
-type restored() :: #{
    piece := piece(),
    entries := non_neg_integer(),
    bytes := non_neg_integer()
}.

-type table_rows() :: #{name := unicode:unicode_binary(), rows := non_neg_integer()}.

%% What became of a restore that had been interrupted. When it was not completed the site is as it was
%% before it.
-type settled() :: #{
    backup := unicode:unicode_binary(),
    completed := boolean(),
    skipped := [skipped()]
}.

-type listing() :: #{backups := [listed()], refused := [refused()]}.

%% An entry(), and what of it is there: these fields are added to it.
-type listed() :: #{
    is_database_present := boolean(),
    is_config_files_present := boolean(),
    is_files_present := boolean(),
    size := non_neg_integer(),
    missing := [unicode:unicode_binary()],
    atom() => term()
}.

%% An entry of the list that cannot be used.
-type refused() :: #{name := unicode:unicode_binary(), reason := unicode:unicode_binary()}.

%% What is in the store now. A backup that could not be uploaded is among the problems.
-type pushed() :: #{
    store := unicode:unicode_binary(),
    uploaded := [pushed_backup()],           % newest first
    already := [unicode:unicode_binary()],
    removed := [unicode:unicode_binary()],   % files that newer backups have replaced
    problems := [problem()],
    warnings := [unicode:unicode_binary()]
}.

-type pushed_backup() :: #{
    name := unicode:unicode_binary(),
    timestamp := integer(),
    bytes := non_neg_integer()
}.

%% What is here now. `newest' is the newest backup of the store that is here with all of its
%% files.
-type pulled() :: #{
    store := unicode:unicode_binary(),
    pulled := [pulled_backup()],             % newest first
    already := [unicode:unicode_binary()],
    problems := [problem()],
    warnings := [unicode:unicode_binary()],  % also when the store was set back
    newest := newest() | undefined
}.

-type pulled_backup() :: #{
    name := unicode:unicode_binary(),
    timestamp := integer(),
    bytes := non_neg_integer(),
    is_proven := boolean(),
    notes := [unicode:unicode_binary()]      % what cannot be proven
}.

%% Proven by the hashes in the list. What is inside is proven by {@link verify/2}.
-type newest() :: #{
    name := unicode:unicode_binary(),
    timestamp := integer(),
    is_proven := boolean(),
    is_new := boolean()
}.

%% Copies to and from a store that only the caller can speak to. It fetches and sends files one by one; what
%% it fetches goes into the folder `relay', under the names of the store, the list of it (`backup.json') first.
-type relay_options() ::
    #{step := offer, relay := text()}        % what is to be sent: a plan()
    %% A backup was sent: a new list is in the relay. Its result is `#{removed := [File]}', to be removed from
    %% the store when the list was sent.
    | #{step := publish, relay := text(), name := text(), timestamp := integer()}
    | #{step := mark, relay := text(), name := text(), timestamp := integer()}  % the list was sent
    | #{step := wanted, relay := text(), require_encrypted => boolean()}        % what is to be fetched: a plan()
    %% A backup was fetched. Its result is a pulled().
    | #{step := take, relay := text(), name => text(), require_encrypted => boolean()}.

%% Newest first. What is no list and in the place of it is to be kept under the name `aside'. A file of which the
%% list does not say how long it is should not be longer than the `room' for it, in bytes.
-type plan() :: #{
    loads := [load()],
    already := [unicode:unicode_binary()],
    problems := [problem()],
    aside := unicode:unicode_binary() | undefined,
    room := non_neg_integer() | undefined
}.

-type load() :: #{name := unicode:unicode_binary(), timestamp := integer(), files := [stored_part()]}.

-type problem() :: #{
    name := unicode:unicode_binary(),
    kind := kind(),
    reason := unicode:unicode_binary()
}.

-type opened() :: #{output := unicode:unicode_binary(), encryption := z1 | z2}.

%% When nightly backups are to be made, and of what folder.
-type schedule() :: #{
    backup_dir := text(),
    at => text() | undefined,                % as 03:00, which it is otherwise
    timezone => text() | undefined,
    with_files => boolean() | undefined      % whether one without media files is no good
}.

-type nightly() :: #{
    due := due() | undefined,                % the one to make now
    next := due(),
    last_good := integer() | undefined       % when the newest good backup was made
}.

%% A moment, and the day that it is the backup of.
-type due() :: #{at := integer(), day := calendar:date()}.

%% The last backup that failed, where none went well since; whether somebody was told; the same of other jobs, by
%% their names; and what was restored last in the `backup' environment.
-type status() :: #{
    failure := failure() | undefined,
    told := boolean(),
    jobs => #{unicode:unicode_binary() => failure()},
    restored => restored_last() | undefined
}.

-type failure() :: #{at := integer(), kind := text(), message := text()}.

%% The backup that the site is of, when that was made, and when it was restored into which database.
-type restored_last() :: #{
    name := text(),
    timestamp := integer(),
    at := integer(),
    database => text() | undefined
}.

-type pruned() :: #{dry_run := boolean(), rules := [pruned_rule()]}.

%% What is older than `before', in seconds since 1970, was due.
-type pruned_rule() :: #{
    rule := revisions | user_revisions | deleted_users | medium_log | edge_log,
    before := integer(),
    deleted := non_neg_integer(),
    problem := unicode:unicode_binary() | undefined
}.

-type change() :: {equal | delete | insert, unicode:unicode_binary()}.
