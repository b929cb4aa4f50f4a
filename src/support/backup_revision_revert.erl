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
    %% Where it was in the tree of categories, content groups or user groups is not known.
    | tree
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
            Run = #run{options = Options, seen = #{Id => true}},
            case is_allowed(Id, Context) andalso revert(Id, RevisionId, Props, Run, Context) of
                {ok, #run{problems = Problems}} -> {ok, lists:reverse(Problems)};
                false -> {error, eacces};
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
    %% Read first: what is done from here on is logged too.
    Events = events(Id, RevisionId, Context),
    Changes = [
        Change
     || {_, Edge} = Change <- backup_revision_replay:edges(Id, [{What, Edge} || {What, Edge, _, _} <- Events], Run#run.options),
        not is_decided(Id, Edge, Run)
    ],
    %% The first event after the moment is the one that is undone.
    Places = maps:from_list(lists:reverse([{Edge, Place} || {deleted, Edge, Place, _} <- Events])),
    %% What it is called by Zotonic, whatever became of its predicate.
    Numbers = maps:from_list([{Edge, Number} || {inserted, Edge, _, Number} <- Events, is_integer(Number)]),
    Medium = backup_revision_medium:at(Id, RevisionId, Context),
    case content(Id, m_rsc:exists(Id, Context), Props, Medium, Run, Context) of
        {ok, Run1} ->
            {ok, lists:foldl(fun(Change, R) -> edge(Change, Places, Numbers, R, Context) end, Run1, Changes)};
        {error, _} = Error ->
            Error
    end.

%% A medium that changes touches its page: the properties come after it. But a page that is gone must come
%% back before it can have a medium.
content(Id, true, Props, Medium, Run, Context) ->
    update(Id, true, Props, medium(Id, Medium, Run, Context), Context);
content(Id, false, Props, Medium, Run, Context) ->
    case update(Id, false, Props, Run, Context) of
        {ok, Run1} ->
            ok = is_back(Id, Context),
            {ok, medium(Id, Medium, tree(Id, Run1, Context), Context)};
        {error, _} = Error ->
            Error
    end.

is_allowed(Id, Context) ->
    case m_rsc:exists(Id, Context) of
        true -> z_acl:rsc_editable(Id, Context);
        false -> z_acl:is_allowed(use, mod_backup, Context)
    end.

%% The connections between a dependent page and one that was reverted before it are as that one had them.
is_decided(Id, {Subject, _, Object}, #run{seen = Seen}) ->
    lists:any(fun(End) -> End =/= Id andalso maps:is_key(End, Seen) end, [Subject, Object]).

%% Also what Zotonic has not told yet: it is in its own log.
events(Id, RevisionId, Context) ->
    Rows = z_db:q(
        "select subject_id, predicate, object_id, is_insert, seq, edge_id from (
            select subject_id, predicate, object_id, is_insert, seq, edge_id, timestamp as at, 0 as log, id
            from backup_edge_log where subject_id = $1 or object_id = $1
            union all
            select subject_id, predicate, object_id, op = 'INSERT', seq, edge_id, logged, 1, id
            from edge_log where (subject_id = $1 or object_id = $1) and op in ('INSERT', 'DELETE')
         ) e
         where at > (select created from backup_revision where id = $2)
         order by at, log, id",
        [Id, RevisionId],
        Context
    ),
    [
        {event(IsInsert), {Subject, Predicate, Object}, Place, Number}
     || {Subject, Predicate, Object, IsInsert, Place, Number} <- Rows
    ].

event(true) -> inserted;
event(false) -> deleted.

%% Properties

update(Id, IsThere, Props, Run, Context) ->
    {Props1, Run1} = possible(Id, wanted(Id, IsThere, Props, Context), Run, Context),
    case make_empty(Id, IsThere, Props1, Context) of
        ok -> update_possible(Id, IsThere, Props1, Run1, Context);
        {error, _} = Error -> Error
    end.

%% An import would make it too, but as a page of another category, and while it is still remembered that there
%% is no such page: whether the user may change it is then decided about something else.
make_empty(_Id, true, _Props, _Context) ->
    ok;
make_empty(Id, false, Props, Context) ->
    {ok, Other} = m_category:name_to_id(other, Context),
    case z_db:q(
        "insert into rsc (id, creator_id, is_published, category_id, content_group_id)
         values ($1, $2, false, coalesce((select id from rsc where id = $3), $4), (select id from rsc where id = $5))
         on conflict (id) do nothing",
        [Id, z_acl:user(Context), id(<<"category_id">>, Props), Other, id(<<"content_group_id">>, Props)],
        Context
    ) of
        1 -> flush(Id, Context);
        0 -> {error, eexist}
    end.

id(Name, Props) ->
    case Props of
        #{Name := Id} when is_integer(Id) -> Id;
        _ -> undefined
    end.

flush(Id, Context) ->
    z_depcache:flush(Id, Context),
    z_acl:flush(Id),
    ok.

update_possible(Id, IsThere, Props, Run, Context) ->
    %% As an import, the page keeps its id and its dates. The texts were escaped when they were saved.
    case imported(Id, Props, Context) of
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

%% Whatever an old revision holds, and any module makes of it: a page that was made for it goes again.
imported(Id, Props, Context) ->
    try
        m_rsc_update:update(Id, Props, [is_import, {is_escape_texts, false}], Context)
    catch
        Class:Reason:Stack ->
            ?LOG_ERROR(#{
                in => zotonic_mod_backup,
                text => <<"The properties of a page could not be reverted">>,
                result => Class,
                reason => Reason,
                stack => Stack,
                rsc_id => Id
            }),
            {error, failed}
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
        1 ->
            ok = flush(Id, Context),
            backup_revision_log:again(Id, Context);
        0 ->
            ok
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

readable_value(#trans{tr = Texts}) when length(Texts) >= 0 ->
    #trans{tr = [{Language, Text} || {Language, Text} <- Texts, is_atom(Language)]};
readable_value(Map) when is_map(Map) ->
    maps:map(fun(_, Value) -> readable_value(Value) end, Map);
readable_value([Map | _] = List) when is_map(Map), length(List) > 0 ->
    [readable_value(Item) || Item <- List];
readable_value(Value) ->
    Value.

%% What a page refers to must be there.
possible(Id, Props, Run, Context) ->
    users(Id, groups(Props, Run, Context), Context).

%% Who changed it last is only noted.
users(Id, {Props, Run}, Context) ->
    IsGone = fun(Name) ->
        case Props of
            #{Name := Id} -> false;
            #{Name := User} when is_integer(User) -> not m_rsc:exists(User, Context);
            _ -> false
        end
    end,
    Gone = [Name || Name <- [<<"creator_id">>, <<"modifier_id">>], IsGone(Name)],
    Run1 = case lists:member(<<"creator_id">>, Gone) of
        true -> problem({property, <<"creator_id">>}, Run);
        false -> Run
    end,
    {maps:without(Gone, Props), Run1}.

groups(Props, Run, Context) ->
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

%% Zotonic gives a page of these a place at the end of their tree; a category only when it is a new one, also
%% while it counts the tree anew, as it does for a while after one was deleted.
tree(Id, Run, Context) ->
    IsCategory = m_rsc:is_a(Id, category, Context),
    case IsCategory of
        true ->
            {ok, _} = m_hierarchy:append('$category', [Id], Context),
            ok = m_category:flush(Context);
        false ->
            ok
    end,
    case IsCategory orelse m_rsc:is_a(Id, content_group, Context) orelse m_rsc:is_a(Id, acl_user_group, Context) of
        true -> problem(tree, Run);
        false -> Run
    end.

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
            case recovered(Medium#{<<"id">> => Id}, Context) of
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

%% What an old row holds may be no medium to Zotonic.
recovered(Medium, Context) ->
    try
        m_media:recover_medium(Medium, Context)
    catch
        Class:Reason -> {error, {Class, Reason}}
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

edge({delete, {Subject, Predicate, Object} = Edge}, _Places, Numbers, Run, Context) ->
    case m_rsc:exists(Subject, Context) andalso m_rsc:exists(Object, Context) andalso
        m_edge:delete(Subject, name_now(Edge, Numbers, Context), Object, Context)
    of
        {error, eacces} -> problem({edge, eacces, {Subject, Predicate, Object}}, Run);
        %% Without its ends or its predicate it is not there.
        _ -> Run
    end;
edge({insert, {_, Predicate, _} = Edge}, Places, _Numbers, Run, Context) ->
    case is_predicate(Predicate, Context) of
        true -> connect(Edge, maps:get(Edge, Places), Run, Context);
        false -> problem({edge, predicate, Edge}, Run)
    end.

%% A predicate that was renamed takes its connections along.
name_now({Subject, Predicate, Object} = Edge, Numbers, Context) ->
    case Numbers of
        #{Edge := Number} ->
            case is_predicate(Predicate, Context) orelse z_db:q1(
                "select p.name from edge e join rsc p on p.id = e.predicate_id
                 where e.id = $1 and e.subject_id = $2 and e.object_id = $3",
                [Number, Subject, Object],
                Context
            ) of
                Name when is_binary(Name) -> Name;
                _ -> Predicate
            end;
        _ ->
            Predicate
    end.

is_predicate(undefined, _Context) -> false;
is_predicate(Predicate, Context) -> m_predicate:is_predicate(Predicate, Context).

%% Among the other connections it has the place that it had. Of what is logged by Zotonic's own module, that is
%% not known.
connect({Subject, Predicate, Object} = Edge, Place, Run, Context) ->
    Run1 = recover_dependent(Object, Run, Context),
    Options = [{seq, Place} || is_integer(Place)],
    case m_rsc:exists(Subject, Context) andalso m_rsc:exists(Object, Context) andalso
        m_edge:insert(Subject, Predicate, Object, Options, Context)
    of
        {ok, _} -> Run1;
        false -> problem({edge, gone, Edge}, Run1);
        {error, Reason} when Reason =:= eacces; element(1, Reason) =:= eacces -> problem({edge, eacces, Edge}, Run1);
        {error, _} -> problem({edge, failed, Edge}, Run1)
    end.

%% A page that is only there because others refer to it, and that went when they did. It comes back as it
%% last was, with its own connections. Two that refer to each other are each tried once. It belongs to the page
%% that refers to it: who may edit that one can bring it back, when Zotonic lets the user have such a page.
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
