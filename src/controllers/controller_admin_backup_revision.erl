%% @doc The page with the revisions of a page: choose two, see what changed, go back to one of them.
-module(controller_admin_backup_revision).

-export([service_available/1, is_authorized/1, resource_exists/1, process/4, event/2]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% A page that is often changed has thousands of revisions.
-define(PER_PAGE, 50).

-spec service_available(z:context()) -> {true, z:context()}.
service_available(Context) ->
    {true, z_context:set_nocache_headers(z_context:set_noindex_header(Context))}.

%% @doc For who may use the admin, and may see the revisions of this page.
-spec is_authorized(z:context()) -> {boolean(), z:context()}.
is_authorized(Context) ->
    {z_acl:is_allowed(use, mod_admin, Context) andalso m_backup_revision:is_allowed(id(Context), Context), Context}.

-spec resource_exists(z:context()) -> {boolean(), z:context()}.
resource_exists(Context) ->
    case id(Context) of
        undefined -> {false, Context};
        Id -> {m_rsc:exists(Id, Context) orelse m_backup_revision:list_revisions(Id, Context) =/= [], Context}
    end.

-spec process(binary(), term(), term(), z:context()) -> {iodata(), z:context()}.
process(_Method, _Accepted, _Provided, Context) ->
    Id = id(Context),
    Revisions = m_backup_revision:list_revisions(Id, Context),
    {Old, New} = chosen(Revisions, Context),
    Pages = max(1, (length(Revisions) + ?PER_PAGE - 1) div ?PER_PAGE),
    Page = number(<<"page">>, lists:seq(1, Pages), 1, Context),
    Vars = [
        {id, Id},
        {is_deleted, not m_rsc:exists(Id, Context)},
        {title, backup_revision_text:html(m_backup_revision:title(Id, Context), Context)},
        {revisions, [shown(Revision, Context) || Revision <- on_page(Page, [Old, New], Revisions)]},
        {page, Page},
        {newer, case Page of 1 -> undefined; _ -> Page - 1 end},
        {older, case Page of Pages -> undefined; _ -> Page + 1 end},
        {old, version(Id, Old, Context)},
        {new, version(Id, New, Context)},
        {page_admin_backup, true}
        | compared(Id, Old, New, Context)
    ],
    z_context:output(z_template:render("admin_backup_revision.tpl", Vars, Context), Context).

id(Context) ->
    case m_rsc:rid(z_context:get_q(<<"id">>, Context), Context) of
        Id when is_integer(Id) -> Id;
        _ -> undefined
    end.

%% The older of two goes first, however they are chosen. By default, what the last change was; of a page that
%% was deleted, what it was.
chosen(Revisions, Context) ->
    Ids = [Id || #{<<"id">> := Id} <- Revisions],
    case {choice(<<"a">>, Ids, Context), choice(<<"b">>, Ids, Context)} of
        {undefined, undefined} -> default(Revisions);
        {undefined, B} -> {B, B};
        {A, undefined} -> {A, A};
        {A, B} -> ordered(A, B, Ids)
    end.

default([#{<<"type">> := <<"D">>, <<"id">> := Last} | _]) -> {Last, Last};
default([#{<<"id">> := Last}, #{<<"id">> := Before} | _]) -> {Before, Last};
default([#{<<"id">> := Last}]) -> {Last, Last};
default([]) -> {undefined, undefined}.

ordered(A, B, Ids) ->
    case [Id || Id <- Ids, Id =:= A orelse Id =:= B] of
        [New, Old] -> {Old, New};
        [Same] -> {Same, Same}
    end.

choice(Name, Ids, Context) ->
    number(Name, Ids, undefined, Context).

%% One of these numbers.
number(Name, Numbers, Else, Context) ->
    case string:to_integer(z_convert:to_binary(z_context:get_q(Name, Context))) of
        {Number, <<>>} when is_integer(Number) ->
            case lists:member(Number, Numbers) of
                true -> Number;
                false -> Else
            end;
        _ ->
            Else
    end.

%% Those that are compared are always there, so that one of them can be kept while the other is looked for.
on_page(Page, Chosen, Revisions) ->
    [
        Revision
     || {Nr, #{<<"id">> := Id} = Revision} <- lists:enumerate(Revisions),
        (Nr - 1) div ?PER_PAGE + 1 =:= Page orelse lists:member(Id, Chosen)
    ].

version(_Id, undefined, _Context) ->
    undefined;
version(_Id, RevisionId, Context) ->
    case m_backup_revision:get_revision(RevisionId, Context) of
        {ok, Revision} -> shown(Revision, Context);
        {error, _} -> undefined
    end.

shown(Revision, Context) ->
    User = maps:get(<<"user_name">>, Revision, undefined),
    Revision#{<<"user_html">> => backup_revision_text:html(User, Context)}.

compared(_Id, undefined, _, _Context) ->
    [];
compared(_Id, Same, Same, Context) ->
    case m_backup_revision:get_revision(Same, Context) of
        {ok, #{<<"data">> := #{} = Props}} -> [{rows, backup_revision_diff:values(Props, Context)}];
        _ -> [{is_unreadable, true}]
    end;
compared(_Id, Old, New, Context) ->
    case {m_backup_revision:get_revision(Old, Context), m_backup_revision:get_revision(New, Context)} of
        {{ok, #{<<"data">> := #{} = A}}, {ok, #{<<"data">> := #{} = B}}} ->
            [{rows, backup_revision_diff:rows(A, B, Context)}, {is_diff, true}];
        _ ->
            [{is_unreadable, true}]
    end.

%% @doc The dialogs: going back to a revision, and replacing a page with the contents of a file.
-spec event(#submit{}, z:context()) -> z:context().
event(#submit{message = {revert, Args}}, Context) ->
    Id = proplists:get_value(rsc_id, Args),
    RevisionId = proplists:get_value(rev_id, Args),
    Context1 = z_render:wire([{unmask, [{body, true}]}, {dialog_close, []}], Context),
    case is_integer(Id) andalso m_backup_revision:is_allowed(Id, Context1) of
        true ->
            Options = [
                Option
             || Option <- [outgoing_edges, incoming_edges, dependent],
                z_convert:to_bool(z_context:get_q(atom_to_binary(Option, utf8), Context1))
            ],
            reverted(m_backup_revision:revert(Id, RevisionId, Options, Context1), Id, Context1);
        false ->
            reverted({error, eacces}, Id, Context1)
    end;
event(#submit{message = {upload, Args}}, Context) ->
    Id = proplists:get_value(id, Args),
    case is_integer(Id) andalso z_acl:rsc_editable(Id, Context) of
        true -> uploaded(upload(Id, z_context:get_q_validated(<<"file">>, Context), Context), Context);
        false -> uploaded({error, eacces}, Context)
    end.

reverted({ok, []}, Id, Context) ->
    edit_page(Id, Context);
reverted({ok, Problems}, Id, Context) ->
    %% The person should see what is missing before the edit page is there.
    Dialog = [
        {title, ?__("Not everything could be brought back", Context)},
        {template, "_dialog_backup_revert_problems.tpl"},
        {id, Id},
        {problems, [backup_revision_text:problem(Problem, Context) || Problem <- Problems]}
    ],
    z_render:wire({dialog_open, Dialog}, Context);
reverted({error, Reason}, _Id, Context) ->
    z_render:growl_error(backup_revision_text:reason(Reason, Context), Context).

edit_page(Id, Context) ->
    z_render:wire({redirect, [{dispatch, admin_edit_rsc}, {id, Id}]}, Context).

upload(Id, #upload{filename = Name, tmpfile = File}, Context) ->
    case filelib:file_size(File) =< backup_rsc_upload:largest() andalso file:read_file(File) of
        {ok, Data} ->
            z_notifier:first(#rsc_upload{id = Id, format = format(Name), data = Data}, Context);
        false ->
            {error, badarg};
        {error, _} = Error ->
            Error
    end;
upload(_Id, _NoFile, _Context) ->
    {error, badarg}.

%% A browser may name a file anyhow.
format(Name) ->
    case unicode:characters_to_binary(Name) of
        Text when is_binary(Text) ->
            case string:lowercase(filename:extension(Text)) of
                <<".json">> -> json;
                _ -> bert
            end;
        _ ->
            bert
    end.

uploaded({ok, Id}, Context) ->
    edit_page(Id, z_render:wire({dialog_close, []}, Context));
uploaded({error, Reason}, Context) ->
    z_render:growl_error(backup_revision_text:reason(Reason, Context), Context);
uploaded(_, Context) ->
    uploaded({error, badarg}, Context).
