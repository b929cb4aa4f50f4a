%% @doc Backups, as jobs on native threads: made, listed, proven, encrypted and decrypted.
%%
%% A function that starts a job returns at once. The process that started it gets its messages:
%% ```
%% {zbackup, Job, {progress, #{phase := P, done := D, total := T, rate := R}}}   at most 4 a second
%% {zbackup, Job, {done, Result}}                                                or
%% {zbackup, Job, {error, Kind, Message}}                                        the last one
%% '''
%% {@link await/1} waits for the last one. When the process dies, its jobs are cancelled. From a shell,
%% `zbackup:help().' tells the rest.
%%
%% Nothing here raises an exception because of its arguments: an exception would show them to a log, and
%% they hold passwords.
-module(zbackup).

-export([
    backup/1,
    verify/1, verify/2, verify/3,
    restore/2, restore/3,
    settle/1,
    list/1,
    push/1, push/2,
    pull/1, pull/2,
    list_offsite/1,
    relay/2,
    due/1,
    status/1, set_status/2,
    encrypt/3, encrypt/4,
    decrypt/3, decrypt/4,
    prune_revisions/1, prune_revisions/2,
    diff/2,
    cancel/1,
    await/1, await/2, await/3
]).
-export([
    help/0,
    shell_backup/1,
    shell_list/1,
    shell_verify/1, shell_verify/2,
    shell_restore/2, shell_restore/3
]).
-export([
    shell_push/1,
    shell_pull/1
]).

-export_type([
    request/0, text/0, database/0, encryption/0, file_options/0,
    job/0, error/0, kind/0, progress/0, phase/0, part/0,
    result/0, report/0, entry/0, stored_part/0, made/0, skipped/0,
    piece/0, restore_options/0, verify_options/0, restore_report/0, restored/0, table_rows/0, settled/0,
    offsite/0, push_options/0, pull_options/0, pushed/0, pushed_backup/0, pulled/0, pulled_backup/0,
    newest/0, problem/0, relay_options/0, plan/0, load/0,
    verified/0, verified_part/0, verification/0, listing/0, listed/0, refused/0, opened/0,
    schedule/0, nightly/0, due/0, status/0, failure/0, restored_last/0,
    revisions/0, prune_options/0, pruned/0, pruned_rule/0, change/0
]).

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
    psql => text() | undefined               % the command; beside pg_dump, or in the PATH
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
-type restore_options() :: #{only => [piece()], timestamp => integer() | undefined}.
-type piece() :: database | files | config | security.

%% A `drill' rehearses the restore of each dump that is proven: it is loaded into the server of the request,
%% in a transaction that is rolled back.
%% `record' keeps in the list what came out, unless another job has the folder for longer than some seconds (a
%% backup, a restore): `recorded' in the result says whether that was done.
-type verify_options() :: #{drill => boolean(), record => boolean()}.

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

%% Newest first. What is no list and in the place of it is to be kept under the name `aside'.
-type plan() :: #{
    loads := [load()],
    already := [unicode:unicode_binary()],
    problems := [problem()],
    aside := unicode:unicode_binary() | undefined
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

%% The backup that the site is of, when that was made, and when it was restored.
-type restored_last() :: #{name := text(), timestamp := integer(), at := integer()}.

-type pruned() :: #{dry_run := boolean(), rules := [pruned_rule()]}.

%% What is older than `before', in seconds since 1970, was due.
-type pruned_rule() :: #{
    rule := revisions | user_revisions | deleted_users | medium_log | edge_log,
    before := integer(),
    deleted := non_neg_integer(),
    problem := unicode:unicode_binary() | undefined
}.

-type change() :: {equal | delete | insert, unicode:unicode_binary()}.

%% @doc Starts a backup. Its result is a `report()'.
-spec backup(request()) -> {ok, job()} | error().
backup(Request) when is_map(Request) ->
    zbackup_nif:backup(zbackup_request:with_binaries(Request));
backup(_) ->
    not_a_map().

%% @doc Starts the proof of all backups.
-spec verify(request()) -> {ok, job()} | error().
verify(Request) ->
    verify(Request, []).

%% @doc Starts the proof of the backups with these names; of all when there are none. Its result is
%% `#{ok, backups}': what is wrong with a backup is in there, and is not an error of the job.
-spec verify(request(), [text()]) -> {ok, job()} | error().
verify(Request, Names) ->
    verify(Request, Names, #{}).

%% @doc The same, with a rehearsal of the restore where the options ask for it.
-spec verify(request(), [text()], verify_options()) -> {ok, job()} | error().
verify(Request, Names, Options) when is_map(Request), is_map(Options) ->
    zbackup_nif:verify(
        zbackup_request:with_binaries(Request),
        zbackup_request:binaries(Names),
        Options
    );
verify(_, _, _) ->
    not_a_map().

%% @equiv restore(Request, Name, #{})
-spec restore(request(), text()) -> {ok, job()} | error().
restore(Request, Name) ->
    restore(Request, Name, #{}).

%% @doc Starts the restore of the site from a backup, the newest where the name is `recent'. All of it is
%% proven before anything is touched. Its result is a `restore_report()'. After an error the site is as it
%% was; but when the message says that the restore is done but for some files, {@link settle/1} completes
%% it, or the next backup or restore.
-spec restore(request(), text(), restore_options()) -> {ok, job()} | error().
restore(Request, Name, Options) when is_map(Request), is_map(Options) ->
    zbackup_nif:restore(
        zbackup_request:with_binaries(Request),
        zbackup_request:text(Name),
        zbackup_request:with_binaries(Options)
    );
restore(_, _, _) ->
    not_a_map().

%% @doc Starts to complete or take back a restore of the site that was interrupted, by a crash for
%% instance. Its result is `#{settled}', which is `undefined' when there was none: it can be asked at every
%% start.
-spec settle(request()) -> {ok, job()} | error().
settle(Request) when is_map(Request) ->
    zbackup_nif:settle(zbackup_request:with_binaries(Request));
settle(_) ->
    not_a_map().

%% @doc Lists the backups, the newest first. This is not a job: it reads one small file.
-spec list(request()) -> {ok, listing()} | error().
list(Request) when is_map(Request) ->
    zbackup_nif:list(zbackup_request:with_binaries(Request));
list(_) ->
    not_a_map().

%% @equiv push(Request, #{})
-spec push(request()) -> {ok, job()} | error().
push(Request) ->
    push(Request, #{}).

%% @doc Starts to upload the backups that are not in the offsite store yet, newest first; the list there
%% names a backup when all of it is there, and the local one says `is_filestore_uploaded' then. Its result
%% is a `pushed()'.
-spec push(request(), push_options()) -> {ok, job()} | error().
push(Request, Options) when is_map(Request), is_map(Options) ->
    zbackup_nif:push(
        zbackup_request:with_binaries(Request),
        zbackup_request:with_binaries(Options)
    );
push(_, _) ->
    not_a_map().

%% @equiv pull(Request, #{})
-spec pull(request()) -> {ok, job()} | error().
pull(Request) ->
    pull(Request, #{}).

%% @doc Starts to download what the offsite store has and the backup folder has not, newest first. A backup
%% is in the folder when all of it is, and is what the list of the store says. Its result is a `pulled()'.
-spec pull(request(), pull_options()) -> {ok, job()} | error().
pull(Request, Options) when is_map(Request), is_map(Options) ->
    zbackup_nif:pull(
        zbackup_request:with_binaries(Request),
        zbackup_request:with_binaries(Options)
    );
pull(_, _) ->
    not_a_map().

%% @doc Starts to list the backups in the offsite store, without downloading them. Its result is a
%% `listing()'.
-spec list_offsite(request()) -> {ok, job()} | error().
list_offsite(Request) when is_map(Request) ->
    zbackup_nif:list_offsite(zbackup_request:with_binaries(Request));
list_offsite(_) ->
    not_a_map().

%% @doc Starts a step of copying to or from a store that the caller speaks to.
-spec relay(request(), relay_options()) -> {ok, job()} | error().
relay(Request, #{step := Step} = Options) when is_map(Request), is_atom(Step) ->
    zbackup_nif:relay(
        zbackup_request:with_binaries(Request),
        zbackup_request:with_binaries(Options#{step := atom_to_binary(Step)})
    );
relay(Request, Options) when is_map(Request), is_map(Options) ->
    {error, usage, <<"the request is not right: step: it should be offer, publish, mark, wanted or take">>};
relay(_, _) ->
    not_a_map().

%% @doc Whether the nightly backup is to be made now, and when the next one is. This is not a job.
-spec due(schedule()) -> {ok, nightly()} | error().
due(Schedule) when is_map(Schedule) ->
    zbackup_nif:due(zbackup_request:with_binaries(Schedule));
due(_) ->
    not_a_map().

%% @doc What was remembered of the backups of a folder. This is not a job.
-spec status(request()) -> {ok, status()} | error().
status(Request) when is_map(Request) ->
    zbackup_nif:status(zbackup_request:with_binaries(Request));
status(_) ->
    not_a_map().

%% @doc Remembers something of the backups of a folder. One process at a time does this.
-spec set_status(request(), status()) -> ok | error().
set_status(Request, Status) when is_map(Request), is_map(Status) ->
    zbackup_nif:set_status(zbackup_request:with_binaries(Request),
                           zbackup_request:with_binaries(Status));
set_status(_, _) ->
    not_a_map().

%% @equiv encrypt(In, Out, Password, #{})
-spec encrypt(text(), text() | undefined, text()) -> {ok, job()} | error().
encrypt(In, Out, Password) ->
    encrypt(In, Out, Password, #{}).

%% @doc Starts the encryption of a file. Without a name, the output is called as the input with `.enc'
%% behind it. Its result is `#{output}'.
-spec encrypt(text(), text() | undefined, text(), file_options()) -> {ok, job()} | error().
encrypt(In, Out, Password, Options) when is_map(Options) ->
    zbackup_nif:encrypt(file_request(In, Out, Password, Options));
encrypt(_, _, _, _) ->
    not_a_map().

%% @equiv decrypt(In, Out, Password, #{})
-spec decrypt(text(), text() | undefined, text()) -> {ok, job()} | error().
decrypt(In, Out, Password) ->
    decrypt(In, Out, Password, #{}).

%% @doc Starts the decryption of a file. Without a name, the output is called as the input without
%% `.enc'. It appears, or replaces what was there, when all of it has authenticated. Its result is an
%% `opened()'; after `z1' nothing proves that the output is what was encrypted.
-spec decrypt(text(), text() | undefined, text(), file_options()) -> {ok, job()} | error().
decrypt(In, Out, Password, Options) when is_map(Options) ->
    zbackup_nif:decrypt(file_request(In, Out, Password, Options));
decrypt(_, _, _, _) ->
    not_a_map().

%% @equiv prune_revisions(Request, #{})
-spec prune_revisions(request()) -> {ok, job()} | error().
prune_revisions(Request) ->
    prune_revisions(Request, #{}).

%% @doc Starts the deletion of revisions that are kept no longer. Its result is `pruned()': a rule that
%% failed says so in there, and the others are followed all the same.
-spec prune_revisions(request(), prune_options()) -> {ok, job()} | error().
prune_revisions(Request, Options) when is_map(Request), is_map(Options) ->
    zbackup_nif:prune_revisions(zbackup_request:with_binaries(maps:merge(Request, Options)));
prune_revisions(_, _) ->
    not_a_map().

%% @doc What changed between two texts in UTF-8, in words. This is not a job: it takes half a second at
%% most, on a dirty scheduler.
-spec diff(unicode:unicode_binary(), unicode:unicode_binary()) -> {ok, [change()]} | error().
diff(Old, New) ->
    zbackup_nif:diff(Old, New).

%% @doc Asks a job to stop. Its last message still comes: mostly `{error, cancelled, _}', or `done' when
%% it was too late.
-spec cancel(job()) -> ok | error().
cancel(Job) ->
    zbackup_nif:cancel(Job).

%% @equiv await(Job, fun(_) -> ok end)
-spec await(job()) -> {ok, result()} | error().
await(Job) ->
    await(Job, fun(_) -> ok end).

%% @doc Waits for the end of a job of this process, calling a function with its progress. Other messages
%% stay where they are.
-spec await(job(), fun((progress()) -> term())) -> {ok, result()} | error().
await(Job, Fun) when is_function(Fun, 1) ->
    {Result, _} = await(Job, fun(Progress, _) -> Fun(Progress) end, ok),
    Result;
await(_, _) ->
    {error, usage, <<"the progress of a job goes to a function of one argument">>}.

%% @doc The same with a function that carries something from each progress to the next, as a fold.
-spec await(job(), fun((progress(), Acc) -> Acc), Acc) -> {{ok, result()} | error(), Acc}.
await(Job, Fun, Acc) when is_function(Fun, 2) ->
    case zbackup_nif:state(Job) of
        {ok, State} -> collect(Job, Fun, Acc, State);
        {error, _, _} = Error -> {Error, Acc}
    end.

%% A job has ended a moment after it sent its last message. So one that was waited for before can still
%% be running, and is asked again.
collect(Job, Fun, Acc, State) ->
    Patience = case State of
        running -> 1000;
        ended -> 0
    end,
    receive
        {zbackup, Job, {progress, Progress}} ->
            collect(Job, Fun, tell(Job, Fun, Progress, Acc), State);
        {zbackup, Job, {done, Result}} ->
            {{ok, Result}, Acc};
        {zbackup, Job, {error, Kind, Message}} ->
            {{error, Kind, Message}, Acc}
    after Patience ->
        case State of
            running ->
                await(Job, Fun, Acc);
            ended ->
                {{error, usage, <<"this job has ended, and its result was received before">>}, Acc}
        end
    end.

%% Nobody waits any more for the job of a function that failed.
tell(Job, Fun, Progress, Acc) ->
    try
        Fun(Progress, Acc)
    catch
        Class:Reason:Stack ->
            _ = cancel(Job),
            erlang:raise(Class, Reason, Stack)
    end.

%% @doc Prints what can be done from a shell.
-spec help() -> ok.
help() ->
    zbackup_shell:help().

%% @doc Makes a backup and shows how it goes. Of a request, or of the path of a `site.toml'; so the
%% other two.
-spec shell_backup(request() | text()) -> ok | error().
shell_backup(Site) ->
    zbackup_shell:backup(Site).

%% @doc Shows the backups.
-spec shell_list(request() | text()) -> ok | error().
shell_list(Site) ->
    zbackup_shell:list(Site).

%% @doc Proves all backups and shows what came out. `ok' only when all is proven.
-spec shell_verify(request() | text()) -> ok | error().
shell_verify(Site) ->
    zbackup_shell:verify(Site, []).

%% @doc The same of the backups with these names.
-spec shell_verify(request() | text(), [text()]) -> ok | error().
shell_verify(Site, Names) ->
    zbackup_shell:verify(Site, Names).

%% @doc Restores the site from a backup and shows how it goes.
-spec shell_restore(request() | text(), text()) -> ok | error().
shell_restore(Site, Name) ->
    shell_restore(Site, Name, []).

%% @doc The same of these pieces only.
-spec shell_restore(request() | text(), text(), [piece()]) -> ok | error().
shell_restore(Site, Name, Only) ->
    zbackup_shell:restore(Site, Name, Only).

%% @doc Uploads to the offsite store and shows how it goes.
-spec shell_push(request() | text()) -> ok | error().
shell_push(Site) ->
    zbackup_shell:push(Site).

%% @doc Downloads from the offsite store and shows how it goes.
-spec shell_pull(request() | text()) -> ok | error().
shell_pull(Site) ->
    zbackup_shell:pull(Site).

file_request(In, Out, Password, Options) ->
    zbackup_request:with_binaries(Options#{input => In, output => Out, password => Password}).

not_a_map() ->
    {error, usage, <<"the request is not right: it should be a map">>}.
