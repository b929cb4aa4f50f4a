%% @doc How it goes with the backups of a site: the last failure is kept until a backup goes well, and the
%% administrator is told once when they stop working, and once when they work again. Of other jobs, somebody
%% started them and looks at the page: their failures are only kept.
-module(backup_status).

-export([failed/4, succeeded/2, job_failed/4, job_succeeded/2, failures/1, restored/2, restoring/2, read/1, known/1]).
-export([started/2, not_started_again/2, is_started_again/1]).

-include_lib("zotonic_core/include/zotonic.hrl").

-export_type([job/0, failure/0]).

-type job() :: restore | verify.

%% What did not go well, and has not since then.
-type failure() :: #{kind := job(), at := calendar:datetime(), message := unicode:unicode_binary()}.

%% @doc A backup failed. By mail goes what nobody sees otherwise: failures of the night.
-spec failed(nightly | manual, atom(), unicode:unicode_binary(), z:context()) -> ok.
failed(When, Kind, Message, Context) ->
    update(
        fun(#{told := IsTold} = Status) ->
            Told = IsTold orelse (When =:= nightly andalso tell(failure, Message, Context)),
            Status#{failure => failure(Kind, Message), told => Told}
        end,
        Context
    ).

%% @doc A backup went well, and its proof.
-spec succeeded(nightly | manual, z:context()) -> ok.
succeeded(When, Context) ->
    update(
        fun
            (#{told := true} = Status) when When =:= nightly ->
                _ = tell(recovery, <<>>, Context),
                Status#{failure => undefined, told => false};
            (Status) ->
                Status#{failure => undefined}
        end,
        Context
    ).

%% @doc A backup was restored: what the database is of since then. Which database that is was written down
%% before.
-spec restored(zbackup:restored_last(), z:context()) -> ok.
restored(Restored, Context) ->
    update(fun(Status) -> Status#{restored => owned(Status, Restored)} end, Context).

%% What is known of the database is not replaced by what the site says now.
owned(#{restored := #{database := Own}}, Restored) when Own =/= undefined -> Restored#{database => Own};
owned(_, Restored) -> Restored.

%% @doc The site was started. A site that is no replica is not of a backup any more: should it be one again, it
%% has what was written since. The database that it restored into is still known then: a primary may run on that of
%% another by mistake, and nothing is to be restored over it.
-spec started(boolean(), z:context()) -> ok.
started(IsReplica, Context) ->
    update(
        fun(#{jobs := Jobs} = Status) ->
            Started = case is_started_again(Status) of
                true -> Status;
                false -> Status#{jobs := maps:remove(<<"restore">>, Jobs)}
            end,
            case IsReplica of
                true -> Started;
                false -> Started#{restored => forgotten(Started)}
            end
        end,
        Context
    ).

forgotten(#{restored := #{database := Own}}) when Own =/= undefined -> nothing_restored(Own);
forgotten(_) -> undefined.

%% A time of 0 is that of no backup; a name has to have letters.
nothing_restored(Database) ->
    #{name => <<"none">>, timestamp => 0, at => 0, database => Database}.

%% @doc What was restored is there, and the site was not started again: it is told until it was. The site may not
%% be there any more, so that its folder of backups is asked for.
-spec not_started_again(unicode:unicode_binary(), file:filename_all()) -> ok.
not_started_again(Message, Dir) ->
    update_in(
        fun(#{jobs := Jobs} = Status) -> Status#{jobs => Jobs#{<<"restore">> => failure(not_started, Message)}} end,
        keep,
        Dir
    ).

%% @doc Whether nothing is known of a site that should have been started again and was not.
-spec is_started_again(zbackup:status()) -> boolean().
is_started_again(#{jobs := #{<<"restore">> := #{kind := <<"not_started">>}}}) -> false;
is_started_again(_) -> true.

%% @doc Something is about to be restored: writes down which database the site has, when that is not known yet.
%% The answer is the one that is known.
-spec restoring(binary(), z:context()) -> {ok, binary()} | zbackup:error().
restoring(Database, Context) ->
    jobs:run(mod_backup_status, fun() ->
        case known(Context) of
            {ok, #{restored := Restored} = Status} ->
                #{database := Own} = Kept = case Restored of
                    undefined -> nothing_restored(Database);
                    #{database := Known} when Known =/= undefined -> Restored;
                    _ -> Restored#{database => Database}
                end,
                case zbackup:set_status(#{backup_dir => backup_site:dir(Context)}, Status#{restored => Kept}) of
                    ok -> {ok, Own};
                    {error, _, _} = Error -> Error
                end;
            {error, _, _} = Error ->
                Error
        end
    end).

%% @doc A restore or a proof failed. The site may start again at once.
-spec job_failed(job(), atom(), unicode:unicode_binary(), z:context()) -> ok.
job_failed(Job, Kind, Message, Context) ->
    update(
        fun(#{jobs := Jobs} = Status) ->
            Status#{jobs => Jobs#{atom_to_binary(Job) => failure(Kind, Message)}}
        end,
        Context
    ).

%% @doc A restore or a proof went well.
-spec job_succeeded(job(), z:context()) -> ok.
job_succeeded(Job, Context) ->
    update(
        fun(#{jobs := Jobs} = Status) -> Status#{jobs => maps:remove(atom_to_binary(Job), Jobs)} end,
        Context
    ).

failure(Kind, Message) ->
    #{at => erlang:system_time(second), kind => atom_to_binary(Kind), message => Message}.

%% @doc The jobs that failed, and have not gone well since then.
-spec failures(z:context()) -> [failure()].
failures(Context) ->
    #{jobs := Jobs} = read(Context),
    [
        #{
            kind => Job,
            at => calendar:system_time_to_universal_time(At, second),
            message => Message
        }
     || Job <- [restore, verify],
        #{at := At, message := Message} <- [maps:get(atom_to_binary(Job), Jobs, none)]
    ].

%% @doc What is remembered, for a page: nothing, where that is not known.
-spec read(z:context()) -> zbackup:status().
read(Context) ->
    case known(Context) of
        {ok, Status} -> Status;
        {error, _, _} -> nothing()
    end.

nothing() ->
    #{failure => undefined, told => false, jobs => #{}, restored => undefined}.

%% @doc What is remembered, for a decision.
-spec known(z:context()) -> {ok, zbackup:status()} | zbackup:error().
known(Context) ->
    zbackup:status(#{backup_dir => backup_site:dir(Context)}).

update(Fun, Context) ->
    %% What it said of the database of a replica is not to be forgotten with it.
    Damaged = case m_site:environment(Context) of
        backup -> keep;
        _ -> begin_anew
    end,
    update_in(Fun, Damaged, backup_site:dir(Context)).

%% One at a time. A status that cannot be kept is told to the log: the backup is not worse for it.
update_in(Fun, Damaged, Dir) ->
    Folder = #{backup_dir => Dir},
    jobs:run(mod_backup_status, fun() ->
        Kept = case zbackup:status(Folder) of
            {ok, Before} ->
                case Fun(Before) of
                    Before -> ok;
                    Status -> zbackup:set_status(Folder, Status)
                end;
            {error, damaged, _} when Damaged =:= begin_anew ->
                zbackup:set_status(Folder, Fun(nothing()));
            {error, _, _} = Error ->
                Error
        end,
        case Kept of
            ok ->
                ok;
            {error, Kind, Message} ->
                ?LOG_ERROR(#{
                    in => zotonic_mod_backup,
                    text => <<"The status of the backups cannot be kept">>,
                    result => error,
                    reason => Kind,
                    message => Message
                })
        end
    end).

%% Whether the mail was handed over. When not, it is tried again with the next failure, or the next check:
%% nobody was told.
tell(What, Detail, Context) ->
    {Subject, Text} = mail(What, Detail, Context),
    Sent = try
        case backup_config:notify_email(Context) of
            undefined -> z_email:send_admin(Subject, Text, Context);
            Email -> z_email:send(Email, Subject, Text, Context)
        end
    catch
        Class:_ -> {error, Class}
    end,
    case Sent of
        ok ->
            true;
        {ok, _} ->
            true;
        _ ->
            ?LOG_ERROR(#{
                in => zotonic_mod_backup,
                text => <<"The mail about the backups cannot be sent">>,
                result => error,
                reason => case Sent of {error, Reason} when is_atom(Reason) -> Reason; _ -> unknown end
            }),
            false
    end.

mail(failure, Message, Context) ->
    Site = atom_to_binary(z_context:site(Context)),
    {
        <<(?__(<<"The backup failed of">>, Context))/binary, " ", Site/binary>>,
        iolist_to_binary([
            ?__(<<"The nightly backup was not made:">>, Context), "\n\n",
            Message, "\n\n",
            ?__(<<"It is tried again every hour, and you get a message when it works. The backups that were "
                  "there before are untouched.">>, Context), "\n\n",
            z_context:abs_url(<<"/admin/backup">>, Context), "\n"
        ])
    };
mail(recovery, _, Context) ->
    Site = atom_to_binary(z_context:site(Context)),
    {
        <<(?__(<<"The backup works again of">>, Context))/binary, " ", Site/binary>>,
        iolist_to_binary([
            ?__(<<"The nightly backup was made again, after it had failed.">>, Context), "\n\n",
            z_context:abs_url(<<"/admin/backup">>, Context), "\n"
        ])
    }.
