%% @doc Deletes revisions that are kept no longer, every day.
-module(backup_revision_prune).

-export([run/1, retention/1]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% @doc Prunes, and tells the log what was deleted. Returns when it is done, which may take minutes; the
%% tick that calls this has a process of its own.
-spec run(z:context()) -> {ok, zbackup:pruned()} | zbackup:error() | ok.
run(Context) ->
    case m_site:environment(Context) of
        backup -> ok;
        _ -> prune(Context)
    end.

prune(Context) ->
    Result = case zbackup:prune_revisions(request(Context)) of
        {ok, Job} -> zbackup:await(Job);
        {error, _, _} = Error -> Error
    end,
    log(Result, Context),
    Result.

log({ok, #{rules := Rules}}, Context) ->
    Failed = [Rule || #{problem := Problem} = Rule <- Rules, Problem =/= undefined],
    Report = #{
        in => zotonic_mod_backup,
        site => z_context:site(Context),
        deleted => maps:from_list([{Rule, Deleted} || #{rule := Rule, deleted := Deleted} <- Rules])
    },
    case Failed of
        [] ->
            ?LOG_INFO(Report#{text => <<"Old revisions are deleted">>, result => ok});
        _ ->
            ?LOG_ERROR(Report#{
                text => <<"Not all old revisions could be deleted">>,
                result => error,
                reason => [{Rule, Problem} || #{rule := Rule, problem := Problem} <- Failed]
            })
    end;
log({error, Kind, Message}, Context) ->
    ?LOG_ERROR(#{
        in => zotonic_mod_backup,
        site => z_context:site(Context),
        text => <<"Old revisions could not be deleted">>,
        result => error,
        reason => Kind,
        message => Message
    }).

request(Context) ->
    Options = z_db_pool:get_database_options(Context),
    Types = [z_convert:to_binary(Type) || Type <- lists:usort(m_identity:user_types(Context))],
    #{
        database => #{
            host => proplists:get_value(dbhost, Options),
            port => proplists:get_value(dbport, Options),
            user => proplists:get_value(dbuser, Options),
            password => proplists:get_value(dbpassword, Options),
            dbname => proplists:get_value(dbdatabase, Options),
            schema => proplists:get_value(dbschema, Options)
        },
        revisions => (retention(Context))#{user_identity_types => Types}
    }.

%% @doc How long revisions are kept, within the limits that there are. Where nothing sensible is configured,
%% as long as the manual says.
-spec retention(z:context()) -> #{
    revision_retention_months := 1..1200,
    user_revision_retention_days := 1..36500,
    user_deletion_retention_days := 1..30
}.
retention(Context) ->
    #{
        revision_retention_months => setting(revision_retention_months, 18, 1200, Context),
        user_revision_retention_days => setting(user_revision_retention_days, 90, 36500, Context),
        user_deletion_retention_days => setting(user_deletion_retention_days, 30, 30, Context)
    }.

setting(Key, Default, Most, Context) ->
    case number(configured(Key, Context)) of
        undefined -> Default;
        Number when Number < 1, Most =:= 30 -> Default;
        Number -> min(Most, max(1, Number))
    end.

configured(Key, Context) ->
    Global = application:get_env(zotonic_mod_backup, Key, undefined),
    IsLocked = z_convert:to_bool(application:get_env(zotonic_mod_backup, is_config_locked, false)),
    case IsLocked orelse m_config:get_value(mod_backup, Key, Context) of
        true -> Global;
        undefined -> Global;
        <<>> -> Global;
        Value -> Value
    end.

number(Number) when is_integer(Number) ->
    Number;
number(Text) when is_binary(Text) ->
    case string:to_integer(string:trim(Text)) of
        {Number, <<>>} when is_integer(Number) -> Number;
        _ -> undefined
    end;
number(Text) when is_list(Text) ->
    number(unicode:characters_to_binary(Text));
number(_) ->
    undefined.
