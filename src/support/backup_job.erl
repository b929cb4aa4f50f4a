%% @doc What a job of {@link mod_backup} does: a process of its own, linked to the server that owns it, so
%% that the work on native threads is cancelled when the one or the other goes away.
%%
%% The server is told `{progress, Pid, Progress}' while it works and `{job, Pid, Result}' when it is done.
-module(backup_job).

-export([start/3, check/3, check_failed/2, publish/2, crashed/3]).
%% For jobs of others.
-export([job/3, guarded/1]).

-include_lib("zotonic_core/include/zotonic.hrl").

-export_type([task/0, result/0]).

-type task() ::
    settle
    | {backup, nightly | manual, full | database, calendar:date() | undefined}
    | {verify, [binary()]}
    | {restore, binary(), #{only := [restore_part()], timestamp => integer()}}.

-type restore_part() :: database | files | config | security.

%% When what had been interrupted was completed, the site is to be started again.
-type result() :: ok | completed | zbackup:error().

%% How often the pages are told where a job is, in milliseconds.
-define(PERIOD, 1000).
%% How long after its time a night without a backup is called missing, in seconds.
-define(PATIENCE, 3 * 3600).

%% @doc Starts a job of the calling process.
-spec start(task(), pid(), z:context()) -> pid().
start(Task, Server, Context) ->
    z_proc:spawn_link_md(fun() ->
        Result = guarded(fun() -> run(Task, Server, Context) end),
        ok = ended(Task, Result, Context),
        Server ! {job, self(), Result}
    end).

%% @doc Starts to look whether it is time for the nightly backup. The server is told `{checked, Pid, What}':
%% the task to start, or nothing. A night that has no backup long after it should have is told to the
%% administrator, whatever the reason: also one of which no attempt failed. The node that has just started
%% has its time to make it up, and what is being made now is not missing yet.
-spec check(integer(), boolean(), z:context()) -> pid().
check(UpSeconds, IsBeingMade, Context) ->
    Server = self(),
    z_proc:spawn_link_md(fun() ->
        Checked = guarded(fun() -> due(UpSeconds, IsBeingMade, Context) end),
        case Checked of
            {error, Kind, Message} -> backup_status:failed(nightly, Kind, Message, Context);
            _ -> ok
        end,
        Server ! {checked, self(), Checked}
    end).

%% @doc A check that ended without an answer, or does not end.
-spec check_failed(unicode:unicode_binary(), z:context()) -> pid().
check_failed(Message, Context) ->
    z_proc:spawn_md(fun() -> backup_status:failed(nightly, internal, Message, Context) end).

due(UpSeconds, IsBeingMade, Context) ->
    case backup_config:daily_dump(Context) of
        0 ->
            nothing;
        Dump ->
            case zbackup:due(backup_site:schedule(Context)) of
                {ok, #{due := undefined}} ->
                    nothing;
                {ok, #{due := #{at := At, day := Day}}} ->
                    Late = min(UpSeconds, erlang:system_time(second) - At),
                    _ = Late > ?PATIENCE andalso not IsBeingMade andalso missing(Context),
                    What = case Dump of 1 -> full; 2 -> database end,
                    {backup, nightly, What, Day};
                {error, _, _} = Error ->
                    Error
            end
    end.

missing(Context) ->
    case backup_status:read(Context) of
        #{told := true} ->
            ok;
        #{told := false} ->
            backup_status:failed(
                nightly,
                missing,
                <<"It is hours after its time, and it is not there. If it is still being made, the page of the "
                  "backups shows how far it is.">>,
                Context
            )
    end.

%% @doc What the pages of the admin are told. Anybody can listen: nothing of it is a secret.
-spec publish(atom(), z:context()) -> ok.
publish(Status, Context) ->
    publish(<<"backup">>, #{status => atom_to_binary(Status)}, Context).

publish(Topic, Payload, Context) ->
    _ = z_mqtt:publish(<<"model/backup/event/", Topic/binary>>, Payload, Context),
    ok.

%% @doc A job that was killed could not tell itself what became of it.
-spec crashed(task(), term(), z:context()) -> pid().
crashed(Task, Reason, Context) ->
    z_proc:spawn_md(fun() ->
        ?LOG_ERROR(#{
            in => zotonic_mod_backup,
            text => <<"A job of the backups was killed">>,
            result => error,
            reason => word(Reason)
        }),
        ended(Task, {error, internal, <<"the process that worked on it was killed">>}, Context)
    end).

%% The tasks

run(settle, Server, Context) ->
    backup_status:started(m_site:environment(Context) =:= backup, Context),
    case job(zbackup:settle(backup_site:restorable(Context)), Server, Context) of
        {ok, #{settled := Settled}} -> settled(Settled, Context);
        {error, _, _} = Error -> Error
    end;
run({backup, When, What, Day}, Server, Context) ->
    %% One at a time on this node: all sites have the same hour. What is to be done, and whether it is to be
    %% encrypted, is as it is when it is done.
    jobs:run(mod_backup, fun() ->
        case backup_site:request(What, Context) of
            {ok, Request} ->
                publish(started, Context),
                IsProven = When =:= nightly andalso backup_config:verify_after(Context),
                case job(zbackup:backup(Request#{day => Day, prove => IsProven}), Server, Context) of
                    {ok, Report} -> made(Report, Context);
                    {error, _, _} = Error -> Error
                end;
            {error, _, _} = Error ->
                Error
        end
    end);
run({verify, Names}, Server, Context) ->
    case verify(Names, Server, Context) of
        {ok, _} -> ok;
        {error, _, _} = Error -> Error
    end;
run({restore, Name, #{only := Wanted} = Options}, Server, Context) ->
    publish(restore_started, Context),
    Parts = parts(Name, Wanted, Context),
    case backup_replica:prepare(Parts, Context) of
        ok -> restore(Name, Parts, Options, Server, Context);
        {error, _, _} = Error -> Error
    end.

restore(Name, Parts, Options, Server, Context) ->
    Request = backup_site:restorable(Context),
    Offsite = backup_config:offsite(Context),
    Before = encryption(Parts, Context),
    % The page says what a backup that is not encrypted can do, and asks for the site's name. An operator's command, and
    % a replica that is configured to follow a store, have consented by naming it.
    Consented = Options#{only := Parts, trust_dump => true},
    Restored = try
        job(zbackup:restore(Request, Name, Consented), Server, Context)
    after
        backup_pool:unpause()
    end,
    case Restored of
        {ok, #{warnings := Warnings} = Done} ->
            ?LOG_NOTICE(#{
                in => zotonic_mod_backup,
                text => <<"Backup restored, the site is started again">>,
                result => ok,
                backup => Name,
                restored => maps:get(restored, Done, Parts),
                warnings => Warnings
            }),
            keep_encryption(Before, Name, Context),
            keep_offsite(lists:member(database, Parts), Offsite, Name, Context),
            backup_replica:restored(Parts, Done, Context);
        {error, _, _} = Error ->
            Error
    end.

%% A shell always asks for the database and the files, also of a backup that was made without the one or the
%% other: then it is what there is. What should be there and is not stops a restore, as ever.
parts(Name, [database, files] = Wanted, Context) ->
    case zbackup:list(#{backup_dir => backup_site:dir(Context)}) of
        {ok, #{backups := Backups}} ->
            case [Backup || Backup <- Backups, is_chosen(Name, Backup)] of
                [#{missing := []} = Backup | _] ->
                    case [Part || Part <- Wanted, has(Part, Backup)] of
                        Wanted ->
                            Wanted;
                        [] ->
                            Wanted;
                        Parts ->
                            ?LOG_NOTICE(#{
                                in => zotonic_mod_backup,
                                text => <<"The backup was made without some of what is asked for: the rest is restored">>,
                                backup => maps:get(name, Backup),
                                asked => Wanted,
                                restored => Parts
                            }),
                            Parts
                    end;
                _ ->
                    Wanted
            end;
        {error, _, _} ->
            Wanted
    end;
parts(_, Wanted, _) ->
    Wanted.

%% The newest is the newest that has a database.
is_chosen(<<"recent">>, Backup) -> has(database, Backup);
is_chosen(Name, #{name := Chosen}) -> Name =:= Chosen.

has(database, #{is_database_present := Has}) -> Has;
has(files, #{is_files_present := Has}) -> Has.

%% The password of the backups is in the database that a restore replaces: without it those that were made
%% since then could not be opened any more.
encryption(Parts, Context) ->
    case lists:member(database, Parts) andalso backup_config:encryption(Context) of
        false ->
            undefined;
        {ok, Encryption} ->
            Encryption;
        {error, Kind, Message} ->
            %% A database that is lost is what a restore is for.
            ?LOG_WARNING(#{
                in => zotonic_mod_backup,
                text => <<"The password of the backups is not known before the restore, and not kept">>,
                result => error,
                reason => Kind,
                message => Message
            }),
            undefined
    end.

keep_encryption(undefined, _, _) ->
    ok;
keep_encryption(Before, Name, Context) ->
    case backup_config:keep_encryption(Before, Context) of
        unchanged ->
            ok;
        kept ->
            ?LOG_WARNING(#{
                in => zotonic_mod_backup,
                text => <<"The restored database has another password of the backups or none, or does not encrypt "
                          "them: it got the one of before, that opens the newer backups">>,
                result => ok,
                backup => Name
            });
        {error, Reason} ->
            ?LOG_ERROR(#{
                in => zotonic_mod_backup,
                text => <<"The password of the backups from before the restore could not be kept: set "
                          "mod_backup.backup_encrypt_password to it again, or backups that were made with it "
                          "cannot be opened">>,
                result => error,
                reason => Reason,
                backup => Name
            })
    end,
    ok.

%% So are the settings of the store that the copies go to.
keep_offsite(false, _, _, _) ->
    ok;
keep_offsite(true, Before, Name, Context) ->
    case backup_config:keep_offsite(Before, Context) of
        unchanged ->
            ok;
        kept ->
            ?LOG_WARNING(#{
                in => zotonic_mod_backup,
                text => <<"The restored database has other settings of the offsite store: it got those of before">>,
                result => ok,
                backup => Name
            });
        {error, Reason} ->
            ?LOG_ERROR(#{
                in => zotonic_mod_backup,
                text => <<"The settings of the offsite store from before the restore could not be kept: look at them, "
                          "or no copies are made">>,
                result => error,
                reason => Reason,
                backup => Name
            })
    end.

%% What became of a restore that had been interrupted.
settled(undefined, _) ->
    ok;
settled(#{backup := Name, completed := IsCompleted}, Context) ->
    ?LOG_WARNING(#{
        in => zotonic_mod_backup,
        text => <<"A restore had been interrupted">>,
        result => case IsCompleted of true -> ok; false -> error end,
        backup => Name
    }),
    case IsCompleted of
        true ->
            backup_status:job_succeeded(restore, Context),
            completed;
        false ->
            Message = <<"the restore of ", Name/binary, " was interrupted, and taken back: the site is as it was "
                        "before it">>,
            backup_status:job_failed(restore, interrupted, Message, Context)
    end.

made(#{backup := #{name := Name} = Backup, skipped := Skipped, warnings := Warnings}, Context) ->
    ?LOG_INFO(#{
        in => zotonic_mod_backup,
        text => <<"Backup made">>,
        result => ok,
        backup => Name,
        is_encrypted => maps:get(is_encrypted, Backup),
        duration_ms => maps:get(duration_ms, Backup)
    }),
    _ = [
        ?LOG_WARNING(#{in => zotonic_mod_backup, text => Warning, backup => Name})
     || Warning <- Warnings
    ],
    _ = Skipped =:= [] orelse ?LOG_WARNING(#{
        in => zotonic_mod_backup,
        text => <<"Files are not in the backup as they were on the disk">>,
        backup => Name,
        count => length(Skipped),
        first => lists:sublist(Skipped, 10)
    }),
    publish(made, Context),
    case Backup of
        #{verified := #{ok := false, problem := Problem}} ->
            {error, damaged, <<"The backup was made, and is not good: ", Problem/binary>>};
        _ ->
            ok
    end.

verify(Names, Server, Context) ->
    Store = backup_site:store(Context),
    case job(zbackup:verify(Store, Names, #{record => true}), Server, Context) of
        {ok, #{backups := Backups, recorded := IsRecorded}} = Verified ->
            IsRecorded orelse
                ?LOG_WARNING(#{
                    in => zotonic_mod_backup,
                    text => <<"A proof is not kept in the list of backups: another job has their folder">>,
                    result => ok,
                    backup => Names
                }),
            _ = [
                ?LOG_ERROR(#{
                    in => zotonic_mod_backup,
                    text => <<"A backup is not proven to be whole">>,
                    result => error,
                    backup => Name,
                    message => problem([Backup])
                })
             || #{ok := false, name := Name} = Backup <- Backups
            ],
            publish(verified, Context),
            Verified;
        {error, _, _} = Error ->
            Error
    end.

problem(Backups) ->
    Problems = [
        [Name, ": ", Problem]
     || #{ok := false, name := Name, problem := Whole, parts := Parts} <- Backups,
        Problem <- [Whole | [Problem || #{problem := Problem} <- Parts]],
        Problem =/= undefined
    ],
    iolist_to_binary(lists:join("\n", Problems)).

%% Waiting

%% @doc Waits for a job of {@link zbackup}. The server is told `{progress, Pid, Progress}', and so are the pages.
-spec job({ok, zbackup:job()} | zbackup:error(), pid(), z:context()) -> {ok, zbackup:result()} | zbackup:error().
job({ok, Job}, Server, Context) ->
    {Result, _} = zbackup:await(Job, fun(Progress, Told) -> told(Progress, Told, Server, Context) end, {none, 0}),
    Result;
job({error, _, _} = Error, _, _) ->
    Error.

told(#{phase := Phase} = Progress, {Before, At}, Server, Context) ->
    Now = erlang:monotonic_time(millisecond),
    IsNew = Phase =/= Before,
    IsNew andalso entered(Phase, Context),
    case IsNew orelse Now - At >= ?PERIOD of
        true ->
            Server ! {progress, self(), Progress},
            publish(<<"progress">>, shown(Progress), Context),
            {Phase, Now};
        false ->
            {Before, At}
    end.

shown(#{phase := Phase, done := Done, total := Total, rate := Rate}) ->
    #{phase => atom_to_binary(Phase), done => Done, total => Total, rate => Rate}.

entered(database, Context) ->
    publish(sql_backup_started, Context);
entered(files, Context) ->
    publish(archive_backup_started, Context);
entered(verify, Context) ->
    publish(verify_started, Context);
entered(load, Context) ->
    %% From here on the database that the site sees is about to be another.
    ok = backup_pool:pause(Context),
    publish(restore_loading, Context);
entered(_, _) ->
    ok.

%% The end

%% Another program, as the command line, has the folder. What it makes may be what was wanted.
ended({backup, nightly, _, _}, {error, in_progress, Message}, Context) ->
    ?LOG_WARNING(#{
        in => zotonic_mod_backup,
        text => <<"The nightly backup waits">>,
        result => error,
        reason => in_progress,
        message => Message
    }),
    publish(error, Context);
ended({backup, When, _, _}, ok, Context) ->
    backup_status:succeeded(When, Context),
    publish(completed, Context);
ended({backup, When, _, _}, {error, Kind, Message}, Context) ->
    complain(<<"The backup failed">>, Kind, Message),
    backup_status:failed(When, Kind, Message, Context),
    publish(error, Context);
ended({restore, _, _}, ok, Context) ->
    backup_status:job_succeeded(restore, Context),
    publish(restored, Context);
ended({restore, _, _}, {error, Kind, Message}, Context) ->
    complain(<<"The backup is not restored">>, Kind, Message),
    backup_status:job_failed(restore, Kind, Message, Context),
    publish(restore_error, Context);
ended({verify, _}, ok, Context) ->
    backup_status:job_succeeded(verify, Context);
ended({verify, _}, {error, Kind, Message}, Context) ->
    complain(<<"The backup could not be proven">>, Kind, Message),
    backup_status:job_failed(verify, Kind, Message, Context),
    publish(verify_error, Context);
ended(settle, {error, Kind, Message}, Context) when Kind =/= in_progress ->
    complain(<<"What a restore left could not be finished">>, Kind, Message),
    backup_status:job_failed(restore, Kind, Message, Context);
ended(_, _, _) ->
    ok.

complain(Text, Kind, Message) ->
    ?LOG_ERROR(#{
        in => zotonic_mod_backup,
        text => Text,
        result => error,
        reason => Kind,
        message => Message
    }),
    ok.

%% @doc Does something. An exception is an error, and is told to the log without what was being worked on: that
%% has passwords in it.
-spec guarded(fun(() -> Result)) -> Result | zbackup:error().
guarded(Fun) ->
    try
        Fun()
    catch
        Class:Reason:Stack ->
            ?LOG_ERROR(#{
                in => zotonic_mod_backup,
                text => <<"A job of the backups crashed">>,
                result => error,
                reason => {Class, word(Reason)},
                stack => [{Module, Name, arity(Arity), Where} || {Module, Name, Arity, Where} <- Stack]
            }),
            {error, internal, <<"the work on it crashed; the log has more">>}
    end.

word(Reason) when is_atom(Reason) -> Reason;
word(Reason) when is_tuple(Reason), tuple_size(Reason) > 0 -> word(element(1, Reason));
word(_) -> unknown.

arity(Arguments) when is_list(Arguments) -> length(Arguments);
arity(Arity) -> Arity.
