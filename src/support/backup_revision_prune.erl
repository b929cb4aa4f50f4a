%% @doc Deletes revisions that are kept no longer, every day.
-module(backup_revision_prune).

-export([run/1]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% For ever, as far as a site is concerned.
-define(LONGEST_MONTHS, 1200).
-define(LONGEST_DAYS, 36500).

%% @doc Prunes, and tells the log what was deleted. Returns when it is done, which may take minutes; the
%% tick that calls this has a process of its own.
-spec run(z:context()) -> {ok, zbackup:pruned()} | zbackup:error() | ok.
run(Context) ->
    case m_site:environment(Context) of
        backup -> ok;
        _ -> prune(Context)
    end.

prune(Context) ->
    case backup_site:database(Context) of
        undefined -> ok;
        Database -> prune(Database, Context)
    end.

prune(Database, Context) ->
    Result = case zbackup:prune_revisions(request(Database, Context)) of
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

request(Database, Context) ->
    Types = [z_convert:to_binary(Type) || Type <- lists:usort(m_identity:user_types(Context))],
    #{
        database => Database,
        revisions => #{
            revision_retention_months => min(?LONGEST_MONTHS, backup_config:retention_months(Context)),
            user_revision_retention_days => min(?LONGEST_DAYS, backup_config:user_retention_days(Context)),
            user_deletion_retention_days => backup_config:deleted_user_retention_days(Context),
            user_identity_types => Types
        }
    }.
