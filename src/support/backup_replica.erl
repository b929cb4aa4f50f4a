%% @doc A site in the `backup' environment: it follows another one, the primary, by restoring the newest backup
%% of it.
-module(backup_replica).

-export([restore/2, prepare/2, restored/3, state/1, plain/1]).

-include_lib("zotonic_core/include/zotonic.hrl").

-export_type([state/0]).

%% What the site is of, and how long ago that was true of the primary, in seconds. `newest' is the newest backup
%% of the primary that is here.
-type state() :: #{
    restored := #{name := binary(), made := calendar:datetime(), at := calendar:datetime()} | undefined,
    behind := non_neg_integer() | undefined,
    newest := #{name := binary(), made := calendar:datetime()} | undefined,
    looked_at := calendar:datetime() | undefined,
    is_behind := boolean()
}.

%% @doc Restores a backup that was downloaded, when it is newer than what was restored last: the site is started
%% again then. A restore that fails is told to the pages by {@link mod_backup}, and is tried again with the next
%% round.
-spec restore(zbackup:newest() | undefined, z:context()) -> ok | zbackup:error().
restore(undefined, _Context) ->
    ok;
restore(#{name := Name, timestamp := Timestamp} = Newest, Context) ->
    case backup_status:known(Context) of
        {ok, #{restored := #{timestamp := Last}} = Status} when Last >= Timestamp ->
            %% It may not have been started again then.
            _ = backup_status:is_started_again(Status) orelse backup_restart:start(Context),
            ok;
        {ok, _} ->
            case Newest of
                #{is_proven := true} ->
                    restore_all(Name, Timestamp, Context);
                #{is_proven := false} ->
                    {error, damaged,
                        <<Name/binary, " is not restored: nothing proves that it is what was backed up. When it is "
                          "of Zotonic's own module and encrypted, set its password here">>}
            end;
        {error, Kind, Message} ->
            {error, Kind, <<"it is not known what was restored last, and nothing is restored: ", Message/binary>>}
    end.

restore_all(Name, Timestamp, Context) ->
    case all_of(Name, Context) of
        {ok, Parts} ->
            case mod_backup:restore_backup(Name, [{timestamp, Timestamp} | Parts], Context) of
                {error, Reason} when Reason =:= in_progress; Reason =:= not_running; Reason =:= unknown_backup ->
                    %% Something else is at work, or has just replaced it.
                    {error, in_progress, <<"no restore now: ", (atom_to_binary(Reason))/binary>>};
                _ ->
                    %% Where it did not go well that was told, and is still known.
                    ok
            end;
        {error, _, _} = Error ->
            Error
    end.

%% All that a backup has.
all_of(Name, Context) ->
    case zbackup:list(#{backup_dir => backup_site:dir(Context)}) of
        {ok, #{backups := Backups}} ->
            case [Backup || #{name := Listed} = Backup <- Backups, Listed =:= Name] of
                [Backup] -> {ok, lists:append([pieces(Part) || Part <- [database, files, config], has(Part, Backup)])};
                [] -> {error, unknown_backup, <<Name/binary, " is not in the list any more">>}
            end;
        {error, _, _} = Error ->
            Error
    end.

has(Part, Backup) -> maps:get(Part, Backup) =/= undefined.

pieces(config) -> [config, security];
pieces(Part) -> [Part].

%% @doc Before anything is restored on a replica. The restored configuration is that of the primary: were the
%% node stopped just after it, the site would start as a second primary. So the mark that keeps it a replica
%% comes first. That configuration may also say that the database is that of the primary, which is not to be
%% replaced by what it was last night: so the site's own is written down before it can come. And what was restored
%% must be remembered: it would be restored again and again.
-spec prepare([mod_backup:restore_option()], z:context()) -> ok | zbackup:error().
prepare(Parts, Context) ->
    case m_site:environment(Context) of
        backup ->
            case z_sites_config:maybe_set_backup_env(Context) of
                ok ->
                    own_database(Parts, Context);
                {error, Reason} ->
                    {error, io, iolist_to_binary(io_lib:format(
                        "priv/BACKUP, which keeps this site in the backup environment, cannot be written (~p): "
                        "nothing is restored", [Reason]))}
            end;
        _ ->
            ok
    end.

own_database(Parts, Context) ->
    Now = database_name(Context),
    case backup_status:restoring(Now, Context) of
        {ok, Own} when Own =/= Now ->
            case lists:member(database, Parts) of
                true -> {error, usage, other_database(Now, Own)};
                false -> ok
            end;
        {ok, _} ->
            ok;
        {error, _, _} = Error ->
            Error
    end.

other_database(Now, Own) ->
    <<"nothing is restored: the database of this site is ", Now/binary, " now, and was ", Own/binary,
      " when it was first restored into. Is it that of the primary, whose configuration came with a backup? Then take "
      "the database out of the configuration of this site (or write its own there), start it again, and do the same "
      "on the primary. Only when ", Now/binary, " is this site's own database, remove backup.json.status from the "
      "folder of the backups: the next restore replaces everything in that database">>.

%% A site can be without one, and is not to get that of the primary.
database_name(Context) ->
    case backup_site:database_name(Context) of
        undefined -> <<"none">>;
        Name -> Name
    end.

%% @doc Remembers what was restored. What a site is of is told by its database, where it has one.
-spec restored([mod_backup:restore_option()], zbackup:restore_report(), z:context()) -> ok.
restored(Parts, #{backup := Backup}, Context) ->
    IsWhole = lists:member(database, Parts) orelse maps:get(database, Backup, undefined) =:= undefined,
    case IsWhole andalso m_site:environment(Context) of
        backup ->
            #{name := Name, timestamp := Timestamp} = Backup,
            backup_status:restored(#{
                name => Name,
                timestamp => Timestamp,
                at => erlang:system_time(second),
                database => database_name(Context)
            }, Context);
        _ ->
            ok
    end.

%% @doc How it goes with a replica; `undefined' when the site is none.
-spec state(z:context()) -> state() | undefined.
state(Context) ->
    case m_site:environment(Context) of
        backup ->
            Restored = case backup_status:read(Context) of
                #{restored := #{timestamp := 0}} -> undefined;
                #{restored := Last} -> Last
            end,
            #{looked_at := LookedAt, newest := Newest} = backup_copier:state(Context),
            #{
                restored => restored(Restored),
                behind => behind(Restored),
                newest => newest(Newest),
                looked_at => LookedAt,
                is_behind => is_newer(Newest, Restored)
            };
        _ ->
            undefined
    end.

restored(undefined) -> undefined;
restored(#{name := Name, timestamp := Made, at := At}) -> #{name => Name, made => datetime(Made), at => datetime(At)}.

behind(undefined) -> undefined;
behind(#{timestamp := Made}) -> max(0, erlang:system_time(second) - Made).

newest(undefined) -> undefined;
newest(#{name := Name, timestamp := Made}) -> #{name => Name, made => datetime(Made)}.

is_newer(#{timestamp := Newest}, #{timestamp := Restored}) -> Newest > Restored;
is_newer(Newest, undefined) -> Newest =/= undefined;
is_newer(undefined, _) -> false.

datetime(Timestamp) -> calendar:system_time_to_universal_time(Timestamp, second).

%% @doc The same for `bin/zotonic backup SITE list': an entry before those of the backups, when the site is a
%% replica.
-spec plain(z:context()) -> [map()].
plain(Context) ->
    case state(Context) of
        undefined ->
            [];
        #{restored := Restored, behind := Behind, looked_at := LookedAt} ->
            Shown = #{
                name => <<"(replica)">>,
                restored => field(name, Restored),
                timestamp => field(made, Restored),
                restored_at => field(at, Restored),
                behind => backup_text:duration(Behind),
                looked_at => LookedAt
            },
            Problems = [Message || #{message := Message} <- mod_backup:failures(Context)],
            [maps:filter(fun(_, Value) -> Value =/= undefined end, Shown#{
                problem => case Problems of
                    [] -> undefined;
                    _ -> iolist_to_binary(lists:join("\n", Problems))
                end
            })]
    end.

field(_, undefined) -> undefined;
field(Name, Map) -> maps:get(Name, Map).
