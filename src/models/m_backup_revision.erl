%% @doc The revisions of pages, for templates and for the pages of the admin.
%%
%% <ul>
%% <li>`m.backup_revision.list[id]': the revisions of a page, the newest first</li>
%% <li>`m.backup_revision.title[id]': the title of a page, also of one that was deleted</li>
%% <li>`m.backup_revision.retention_months', `user_retention_days' and `deleted_user_retention_days': how
%% long revisions are kept</li>
%% <li>`m.search.backup_deleted': the pages that were deleted, the last one first</li>
%% </ul>
-module(m_backup_revision).
-behaviour(zotonic_model).

-export([
    m_get/3,
    search_query/2,
    list_revisions/2,
    get_revision/2,
    newest_revision/2,
    list_deleted/2,
    title/2,
    is_allowed/2,
    revert/4
]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% @doc What templates ask for.
-spec m_get([term()], zotonic_model:opt_msg(), z:context()) -> zotonic_model:return().
m_get([<<"list">>, Id | Rest], _Msg, Context) ->
    of_page(Id, Rest, fun list_revisions/2, Context);
m_get([<<"title">>, Id | Rest], _Msg, Context) ->
    of_page(Id, Rest, fun title/2, Context);
m_get([<<"retention_months">> | Rest], _Msg, Context) ->
    {ok, {backup_config:retention_months(Context), Rest}};
m_get([<<"user_retention_days">> | Rest], _Msg, Context) ->
    {ok, {backup_config:user_retention_days(Context), Rest}};
m_get([<<"deleted_user_retention_days">> | Rest], _Msg, Context) ->
    {ok, {backup_config:deleted_user_retention_days(Context), Rest}};
m_get(_Path, _Msg, _Context) ->
    {error, unknown_path}.

of_page(Page, Rest, Fun, Context) ->
    case m_rsc:rid(Page, Context) of
        Id when is_integer(Id) ->
            case is_allowed(Id, Context) of
                true -> {ok, {Fun(Id, Context), Rest}};
                false -> {error, eacces}
            end;
        undefined ->
            {error, enoent}
    end.

%% @doc Whether the user may see the revisions of a page, and go back to them: who may use this module, and
%% of a page that is there also who may edit it.
-spec is_allowed(m_rsc:resource_id(), z:context()) -> boolean().
is_allowed(Id, Context) ->
    z_acl:is_allowed(use, mod_backup, Context) orelse
        (m_rsc:exists(Id, Context) andalso z_acl:rsc_editable(Id, Context)).

%% @doc The search `backup_deleted'. Who may not see what was deleted finds nothing.
-spec search_query(#search_query{}, z:context()) -> #search_result{} | undefined.
search_query(#search_query{name = <<"backup_deleted">>, offsetlimit = OffsetLimit}, Context) ->
    case z_acl:is_allowed(use, mod_backup, Context) of
        true -> list_deleted(OffsetLimit, Context);
        false -> #search_result{result = [], total = 0, is_total_estimated = false}
    end;
search_query(#search_query{}, _Context) ->
    undefined.

%% @doc The pages that were deleted, the last one first. The first offset is 1.
-spec list_deleted({pos_integer(), pos_integer()}, z:context()) -> #search_result{}.
list_deleted({Offset, Limit}, Context) ->
    {ok, Rows} = z_db:qmap(
        "select b.*, g.new_id from backup_revision b left join rsc_gone g on g.id = b.rsc_id " ++ deleted() ++
            " order by b.created desc, b.id desc offset $1 limit $2",
        [Offset - 1, Limit],
        Context
    ),
    Total = z_db:q1("select count(*) from backup_revision b " ++ deleted(), Context),
    Result = [for_list(read(Row), Context) || Row <- Rows],
    #search_result{result = Result, total = Total, is_total_estimated = false}.

%% Texts of old revisions may not be as Zotonic stores them now: these are escaped.
for_list(#{<<"data">> := Props} = Row, Context) ->
    Title = case Props of
        undefined -> undefined;
        _ -> title_of(Props)
    end,
    Category = case Props of
        #{<<"category_id">> := Id} when is_integer(Id) -> Id;
        _ -> undefined
    end,
    Row#{
        <<"category_id">> => Category,
        <<"title_html">> => backup_revision_text:html(Title, Context),
        <<"user_html">> => backup_revision_text:html(maps:get(<<"user_name">>, Row, undefined), Context)
    }.

%% Only the last deletion of a page.
deleted() ->
    "where b.type = 'D'
       and not exists (select from rsc where rsc.id = b.rsc_id)
       and not exists (
            select from backup_revision n where n.rsc_id = b.rsc_id and n.type = 'D'
            and (n.created, n.id) > (b.created, b.id))".

%% @doc The revisions of a page without their contents, the newest first.
-spec list_revisions(m_rsc:resource_id(), z:context()) -> [map()].
list_revisions(Id, Context) ->
    {ok, Rows} = z_db:qmap(
        "select id, type, created, version, user_id, user_name from backup_revision
         where rsc_id = $1 order by created desc, id desc",
        [Id],
        Context
    ),
    [with_type(Row) || Row <- Rows].

%% @doc A revision with its contents, `data', as a map; `undefined' when they cannot be read.
-spec get_revision(integer(), z:context()) -> {ok, map()} | {error, enoent | term()}.
get_revision(RevisionId, Context) ->
    row("select * from backup_revision where id = $1", RevisionId, Context).

%% @doc The last revision of a page.
-spec newest_revision(m_rsc:resource_id(), z:context()) -> {ok, map()} | {error, enoent | term()}.
newest_revision(Id, Context) ->
    row(
        "select * from backup_revision where rsc_id = $1 order by created desc, id desc limit 1",
        Id,
        Context
    ).

row(Query, Id, Context) ->
    case z_db:qmap_row(Query, [Id], Context) of
        {ok, Row} -> {ok, read(Row)};
        {error, _} = Error -> Error
    end.

read(#{<<"data">> := Data} = Row) ->
    case backup_revision_term:props(Data) of
        {ok, Props} -> with_type(Row#{<<"data">> => Props, <<"is_unreadable">> => false});
        {error, _} -> with_type(Row#{<<"data">> => undefined, <<"is_unreadable">> => true})
    end.

%% The driver has a number for a character.
with_type(#{<<"type">> := Type} = Row) when is_integer(Type) -> Row#{<<"type">> => <<Type>>};
with_type(Row) -> Row.

%% @doc The title of a page: of one that was deleted, the title that it had.
-spec title(m_rsc:resource_id(), z:context()) -> term().
title(Id, Context) ->
    case m_rsc:exists(Id, Context) of
        true ->
            m_rsc:p(Id, <<"title">>, Context);
        false ->
            case newest_revision(Id, Context) of
                {ok, #{<<"data">> := #{} = Props}} -> title_of(Props);
                _ -> undefined
            end
    end.

title_of(Props) ->
    Titles = [maps:get(Key, Props, undefined) || Key <- [<<"title">>, <<"short_title">>, <<"subtitle">>]],
    case [Title || Title <- Titles, Title =/= undefined, Title =/= <<>>] of
        [Title | _] -> Title;
        [] -> undefined
    end.

%% @doc Brings a page back to a revision. What could not be brought back is in the result.
-spec revert(m_rsc:resource_id(), integer(), [backup_revision_revert:option()], z:context()) ->
    {ok, [backup_revision_revert:problem()]} | {error, term()}.
revert(Id, RevisionId, Options, Context) ->
    backup_revision_revert:run(Id, RevisionId, Options, Context).
