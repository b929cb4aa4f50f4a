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

-include("zbackup_types.hrl").

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
    zbackup_wait:await(Job, Fun, Acc).

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
-spec shell_restore(request() | text(), text(), [piece() | trust_dump]) -> ok | error().
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
