%% @doc Brings a page back to one of its revisions: its properties, its connections and its medium.
%%
%% What cannot be brought back does not keep the rest from coming: it is a problem in the result.
-module(backup_revision_revert).

-export([run/4]).

-export_type([option/0, problem/0]).

-include_lib("zotonic_core/include/zotonic.hrl").

-type option() :: outgoing_edges | incoming_edges | dependent.
-type problem() ::
    %% A connection that could not be made again, or that is still there.
    {edge, gone | predicate | eacces | failed, backup_revision_replay:edge()}
    %% The page has the medium that it had, or none.
    | {medium, file_gone | unknown | unreadable | failed}
    %% Another page has this name now, or the category is gone.
    | {property, Name :: binary()}
    %% A dependent page that stays deleted.
    | {dependent, m_rsc:resource_id(), term()}.

%% Properties that an update cannot or must not take away.
-define(KEPT, [
    <<"id">>, <<"version">>, <<"created">>, <<"creator_id">>, <<"modified">>, <<"modifier_id">>,
    <<"category_id">>, <<"content_group_id">>, <<"visible_for">>, <<"language">>, <<"tz">>,
    <<"publication_start">>, <<"publication_end">>, <<"is_authoritative">>, <<"props">>, <<"slug">>,
    <<"title_slug">>
]).
%% What only one page can have, and Zotonic's word for it when another has it.
-define(UNIQUE, #{
    duplicate_name => <<"name">>, duplicate_page_path => <<"page_path">>, duplicate_uri => <<"uri">>,
    invalid_query => <<"query">>
}).

-record(run, {
    options :: [option()],
    %% Dependent pages that were recovered, or tried.
    seen = #{} :: #{m_rsc:resource_id() => true},
    problems = [] :: [problem()]
}).

%% @doc Reverts a page, or recovers it when it was deleted. A page that is there can be reverted by whoever
%% may edit it, one that was deleted by whoever may use this module.
-spec run(m_rsc:resource_id(), integer(), [option()], z:context()) ->
    {ok, [problem()]} | {error, enoent | invalid | unreadable | eacces | term()}.
run(Id, RevisionId, Options, Context) ->
    case m_backup_revision:get_revision(RevisionId, Context) of
        {ok, #{<<"rsc_id">> := Id, <<"data">> := #{} = Props}} ->
            case revert(Id, RevisionId, Props, #run{options = Options, seen = #{Id => true}}, Context) of
                {ok, #run{problems = Problems}} -> {ok, lists:reverse(Problems)};
                {error, _} = Error -> Error
            end;
        {ok, #{<<"rsc_id">> := Id}} ->
            {error, unreadable};
        {ok, _} ->
            {error, invalid};
        {error, _} ->
            {error, enoent}
    end.

revert(Id, RevisionId, Props, Run, Context) ->
    IsThere = m_rsc:exists(Id, Context),
    case is_allowed(IsThere, Id, Context) of
        true ->
            %% Read first: what is done from here on is logged too.
            Changes = [
                Change
             || {_, Edge} = Change <- backup_revision_replay:edges(
                    Id, events(Id, RevisionId, Context), Run#run.options),
                not is_decided(Id, Edge, Run)
            ],
            Medium = backup_revision_medium:at(Id, RevisionId, Context),
            case content(Id, IsThere, Props, Medium, Run, Context) of
                {ok, Run1} ->
                    {ok, lists:foldl(fun(Change, R) -> edge(Change, R, Context) end, Run1, Changes)};
                {error, _} = Error ->
                    Error
            end;
        false ->
            {error, eacces}
    end.

%% A medium that changes touches its page: the properties come after it. But a page that is gone must come
%% back before it can have a medium.
content(Id, true, Props, Medium, Run, Context) ->
    update(Id, true, Props, medium(Id, Medium, Run, Context), Context);
content(Id, false, Props, Medium, Run, Context) ->
    case update(Id, false, Props, Run, Context) of
        {ok, Run1} ->
            ok = is_back(Id, Context),
            {ok, medium(Id, Medium, Run1, Context)};
        {error, _} = Error ->
            Error
    end.

is_allowed(true, Id, Context) -> z_acl:rsc_editable(Id, Context);
is_allowed(false, _Id, Context) -> z_acl:is_allowed(use, mod_backup, Context).

%% The connections between a dependent page and one that was reverted before it are as that one had them.
is_decided(Id, {Subject, _, Object}, #run{seen = Seen}) ->
    lists:any(fun(End) -> End =/= Id andalso maps:is_key(End, Seen) end, [Subject, Object]).

%% Also what Zotonic has not told yet: it is in its own log.
events(Id, RevisionId, Context) ->
    Rows = z_db:q(
        "select subject_id, predicate, object_id, is_insert from (
            select subject_id, predicate, object_id, is_insert, timestamp as at, 0 as log, id
            from backup_edge_log where subject_id = $1 or object_id = $1
            union all
            select subject_id, predicate, object_id, op = 'INSERT', logged, 1, id
            from edge_log where (subject_id = $1 or object_id = $1) and op in ('INSERT', 'DELETE')
         ) e
         where at > (select created from backup_revision where id = $2)
         order by at, log, id",
        [Id, RevisionId],
        Context
    ),
    [{event(IsInsert), {Subject, Predicate, Object}} || {Subject, Predicate, Object, IsInsert} <- Rows].

event(true) -> inserted;
event(false) -> deleted.

%% Properties

update(Id, IsThere, Props, Run, Context) ->
    {Props1, Run1} = possible(wanted(Id, IsThere, Props, Context), Run, Context),
    ok = make_empty(Id, IsThere, Props1, Context),
    update_possible(Id, IsThere, Props1, Run1, Context).

%% An import would make it too, but as a page of another category, and while it is still remembered that there
%% is no such page: whether the user may change it is then decided about something else.
make_empty(_Id, true, _Props, _Context) ->
    ok;
make_empty(Id, false, Props, Context) ->
    {ok, Other} = m_category:name_to_id(other, Context),
    _ = z_db:q(
        "insert into rsc (id, creator_id, is_published, category_id, content_group_id)
         values ($1, $2, false, coalesce((select id from rsc where id = $3), $4), (select id from rsc where id = $5))",
        [Id, z_acl:user(Context), maps:get(<<"category_id">>, Props, undefined), Other,
         maps:get(<<"content_group_id">>, Props, undefined)],
        Context
    ),
    flush(Id, Context).

flush(Id, Context) ->
    z_depcache:flush(Id, Context),
    z_acl:flush(Id),
    ok.

update_possible(Id, IsThere, Props, Run, Context) ->
    %% As an import, the page keeps its id and its dates. The texts were escaped when they were saved.
    case m_rsc_update:update(Id, Props, [is_import, {is_escape_texts, false}], Context) of
        {ok, Id} ->
            ok = set_creator(Id, IsThere, Props, Context),
            {ok, Run};
        {error, Reason} when is_map_key(Reason, ?UNIQUE) ->
            Name = maps:get(Reason, ?UNIQUE),
            case maps:is_key(Name, Props) of
                true ->
                    Less = maps:remove(Name, Props),
                    update_possible(Id, IsThere, Less, problem({property, Name}, Run), Context);
                false ->
                    remove_empty(Id, IsThere, Context),
                    {error, Reason}
            end;
        {error, _} = Error ->
            remove_empty(Id, IsThere, Context),
            Error
    end.

%% Only an administrator can give a page to another user by an update. What is recovered belongs to whom it
%% belonged.
set_creator(Id, false, #{<<"creator_id">> := Creator}, Context) when is_integer(Creator) ->
    case z_db:q(
        "update rsc set creator_id = $2::int where id = $1 and creator_id is distinct from $2::int
         and (exists (select from rsc c where c.id = $2::int) or $1 = $2::int)",
        [Id, Creator],
        Context
    ) of
        1 -> flush(Id, Context);
        0 -> ok
    end;
set_creator(_, _, _, _) ->
    ok.

%% The page was made before it was known whether the user may.
remove_empty(_Id, true, _Context) ->
    ok;
remove_empty(Id, false, Context) ->
    _ = z_db:q("delete from rsc where id = $1", [Id], Context),
    flush(Id, Context).

%% What the page has now and had not then is taken away.
wanted(Id, true, Props, Context) ->
    {ok, Now} = m_rsc:get_raw(Id, Context),
    New = [Key || Key <- maps:keys(Now), not maps:is_key(Key, Props), not is_kept(Key)],
    maps:merge(maps:from_keys(New, undefined), readable(Props));
wanted(_Id, false, Props, _Context) ->
    readable(Props).

is_kept(<<"pivot_", _/binary>>) -> true;
is_kept(<<"computed_", _/binary>>) -> true;
is_kept(Key) -> lists:member(Key, ?KEPT).

%% A language that this node does not know, of an old revision, has no place in a page.
readable(Props) ->
    maps:map(fun(_, Value) -> readable_value(Value) end, maps:without([<<"id">>, <<"version">>], Props)).

readable_value(#trans{tr = Texts}) when is_list(Texts) ->
    #trans{tr = [{Language, Text} || {Language, Text} <- Texts, is_atom(Language)]};
readable_value(Map) when is_map(Map) ->
    maps:map(fun(_, Value) -> readable_value(Value) end, Map);
readable_value([Map | _] = List) when is_map(Map) ->
    [readable_value(Item) || Item <- List];
readable_value(Value) ->
    Value.

possible(Props, Run, Context) ->
    lists:foldl(
        fun({Name, Categories}, {P, R}) ->
            case P of
                #{Name := Id} when is_integer(Id) ->
                    case lists:any(fun(Category) -> m_rsc:is_a(Id, Category, Context) end, Categories) of
                        true -> {P, R};
                        %% Zotonic makes its own choice.
                        false -> {maps:remove(Name, P), problem({property, Name}, R)}
                    end;
                _ ->
                    {P, R}
            end
        end,
        {Props, Run},
        [{<<"category_id">>, [category]}, {<<"content_group_id">>, [content_group, acl_collaboration_group]}]
    ).

%% What remembers that the page is gone.
is_back(Id, Context) ->
    _ = m_rsc_gone:delete(Id, Context),
    lists:foreach(
        fun(Key) -> z_depcache:flush(Key, Context) end,
        [{rsc_gone, Id}, {rsc_is_gone, Id}, {rsc_gone_new_location, Id}, Id]
    ).

%% Medium

medium(_Id, current, Run, _Context) ->
    Run;
medium(Id, none, Run, Context) ->
    case m_media:get(Id, Context) of
        undefined ->
            Run;
        _ ->
            %% It stays in the log, and so can be brought back.
            ok = backup_revision_log:medium_check(Id, Context),
            case m_media:delete(Id, Context) of
                ok -> Run;
                {error, _} -> problem({medium, failed}, Run)
            end
    end;
medium(Id, unknown, Run, Context) ->
    case m_media:get(Id, Context) of
        undefined -> Run;
        _ -> problem({medium, unknown}, Run)
    end;
medium(_Id, {error, unreadable}, Run, _Context) ->
    problem({medium, unreadable}, Run);
medium(Id, {ok, Medium, IsCurrent}, Run, Context) ->
    Now = m_media:get(Id, Context),
    case Now =/= undefined andalso (IsCurrent orelse is_same(Now, Medium)) of
        true -> Run;
        false -> recover_medium(Id, Medium, Run, Context)
    end.

%% A medium that was brought back is a copy: the same bytes under another name.
is_same(#{<<"digest">> := Digest, <<"mime">> := Mime}, #{<<"digest">> := Digest, <<"mime">> := Mime}) ->
    is_binary(Digest);
is_same(_, _) ->
    false.

%% The medium that the page has now is given up for one whose file is there, and for no other.
recover_medium(Id, Medium, Run, Context) ->
    case is_file_there(Medium, Context) of
        true ->
            ok = backup_revision_log:medium_check(Id, Context),
            case m_media:recover_medium(Medium#{<<"id">> => Id}, Context) of
                ok ->
                    Run;
                {error, Reason} ->
                    ?LOG_WARNING(#{
                        in => zotonic_mod_backup,
                        text => <<"The medium of a page could not be recovered">>,
                        result => error,
                        reason => Reason,
                        rsc_id => Id
                    }),
                    problem({medium, failed}, Run)
            end;
        false ->
            problem({medium, file_gone}, Run)
    end.

is_file_there(#{<<"filename">> := File, <<"is_deletable_file">> := true}, Context) when
    is_binary(File), File =/= <<>>
->
    case z_file_request:lookup_file(File, [archive], [], Context) of
        {ok, _} -> true;
        {error, _} -> false
    end;
is_file_there(_Medium, _Context) ->
    true.

%% Connections

edge({delete, {Subject, Predicate, Object} = Edge}, Run, Context) ->
    case m_rsc:exists(Subject, Context) andalso m_rsc:exists(Object, Context) andalso
        m_edge:delete(Subject, Predicate, Object, Context)
    of
        {error, eacces} -> problem({edge, eacces, Edge}, Run);
        %% Without its ends or its predicate it is not there.
        _ -> Run
    end;
edge({insert, {Subject, Predicate, Object} = Edge}, Run, Context) ->
    Run1 = recover_dependent(Object, Run, Context),
    case m_rsc:exists(Subject, Context) andalso m_rsc:exists(Object, Context) of
        true ->
            case is_predicate(Predicate, Context) of
                true -> insert_edge(Subject, Predicate, Object, Run1, Context);
                false -> problem({edge, predicate, Edge}, Run1)
            end;
        false ->
            problem({edge, gone, Edge}, Run1)
    end.

is_predicate(undefined, _Context) -> false;
is_predicate(Predicate, Context) -> m_predicate:is_predicate(Predicate, Context).

insert_edge(Subject, Predicate, Object, Run, Context) ->
    case m_edge:insert(Subject, Predicate, Object, Context) of
        {ok, _} -> Run;
        {error, Reason} when Reason =:= eacces; element(1, Reason) =:= eacces ->
            problem({edge, eacces, {Subject, Predicate, Object}}, Run);
        {error, _} -> problem({edge, failed, {Subject, Predicate, Object}}, Run)
    end.

%% A page that is only there because others refer to it, and that went when they did. It comes back as it
%% last was, with its own connections. Two that refer to each other are each tried once.
recover_dependent(Id, #run{options = Options, seen = Seen} = Run, Context) ->
    case
        lists:member(dependent, Options) andalso not maps:is_key(Id, Seen) andalso
            not m_rsc:exists(Id, Context)
    of
        true -> recover_newest(Id, Run#run{seen = Seen#{Id => true}}, Context);
        false -> Run
    end.

recover_newest(Id, Run, Context) ->
    case m_backup_revision:newest_revision(Id, Context) of
        {ok, #{<<"id">> := RevisionId, <<"data">> := #{<<"is_dependent">> := true} = Props}} ->
            case revert(Id, RevisionId, Props, Run, Context) of
                {ok, Run1} -> Run1;
                {error, Reason} -> problem({dependent, Id, Reason}, Run)
            end;
        {ok, #{<<"data">> := undefined}} ->
            problem({dependent, Id, unreadable}, Run);
        _ ->
            Run
    end.

problem(Problem, #run{problems = Problems} = Run) ->
    Run#run{problems = [Problem | Problems]}.
