%% @doc What a person is told about revisions, as HTML.
-module(backup_revision_text).

-export([html/2, problem/2, reason/2]).

-include_lib("zotonic_core/include/zotonic.hrl").

%% @doc A stored text. Zotonic escapes texts before it stores them, but an old revision or a file from
%% elsewhere may hold anything.
-spec html(term(), z:context()) -> binary().
html(Text, Context) when is_binary(Text) ->
    backup_revision_diff:escape(backup_revision_diff:text(Text, Context));
html(#trans{tr = Texts}, Context) when length(Texts) > 0 ->
    case [Pair || {Language, Text} = Pair <- Texts, is_atom(Language), is_binary(Text)] of
        [] -> <<>>;
        Known -> html(z_trans:lookup_fallback(#trans{tr = Known}, Context), Context)
    end;
html(Text, Context) when length(Text) > 0 ->
    html(backup_revision_diff:text(Text, Context), Context);
html(_, _Context) ->
    <<>>.

%% @doc What could not be brought back, and why.
-spec problem(backup_revision_revert:problem(), z:context()) -> binary().
problem({edge, Reason, {Subject, Predicate, Object}}, Context) ->
    Name = case Predicate of
        undefined -> <<"?">>;
        _ -> backup_revision_diff:escape(Predicate)
    end,
    join([?__("Connection", Context), page(Subject, Context), <<"–"/utf8>>, Name, <<"→"/utf8>>,
          <<(page(Object, Context))/binary, ":">>, edge(Reason, Context)]);
problem({medium, file_gone}, Context) ->
    ?__("The media file has been removed from the storage: the media is not changed.", Context);
problem({medium, unknown}, Context) ->
    ?__("It is not known which media the page had then: the media is not changed.", Context);
problem({medium, unreadable}, Context) ->
    ?__("What is stored about the media cannot be read: the media is not changed.", Context);
problem({medium, failed}, Context) ->
    ?__("The media could not be brought back.", Context);
problem({property, <<"category_id">>}, Context) ->
    ?__("The category of the page does not exist anymore.", Context);
problem({property, <<"content_group_id">>}, Context) ->
    ?__("The content group of the page does not exist anymore.", Context);
problem({property, <<"query">>}, Context) ->
    ?__("The query of the page is not valid anymore.", Context);
problem({property, <<"creator_id">>}, Context) ->
    ?__("The user who made the page does not exist anymore.", Context);
problem(tree, Context) ->
    ?__("The place of the page in its tree is not known: it is at the end.", Context);
problem({property, Name}, Context) ->
    join([?__("Another page now has the same value for:", Context), backup_revision_diff:escape(Name)]);
problem({dependent, Id, Reason}, Context) ->
    join([?__("The dependent page", Context), <<(page(Id, Context))/binary, ":">>, reason(Reason, Context)]).

edge(gone, Context) -> ?__("a page of it is deleted.", Context);
edge(predicate, Context) -> ?__("this kind of connection does not exist anymore.", Context);
edge(eacces, Context) -> ?__("you are not allowed to change it.", Context);
edge(failed, Context) -> ?__("it could not be made.", Context).

page(Id, Context) ->
    Number = integer_to_binary(Id),
    %% A deleted page has its title only for who may see what was deleted.
    Title = case m_rsc:exists(Id, Context) orelse z_acl:is_allowed(use, mod_backup, Context) of
        true -> html(m_backup_revision:title(Id, Context), Context);
        false -> <<>>
    end,
    case Title of
        <<>> -> Number;
        _ -> <<Title/binary, " (", Number/binary, ")">>
    end.

join(Words) ->
    iolist_to_binary(lists:join(" ", Words)).

%% @doc Why nothing was done.
-spec reason(term(), z:context()) -> binary().
reason(eacces, Context) -> ?__("You are not allowed to do this.", Context);
reason(eexist, Context) -> ?__("Somebody else is recovering this page.", Context);
reason(own_json, Context) ->
    ?__("This .json file is from this site, and only other sites can take it in: use the .bert file.", Context);
reason(enoent, Context) -> ?__("This revision has been deleted.", Context);
reason(unreadable, Context) -> ?__("The contents of this revision cannot be read.", Context);
reason(badarg, Context) -> ?__("This is not a backup file of a page, or it is damaged.", Context);
reason(duplicate_name, Context) -> ?__("There is already a page with this unique name.", Context);
reason(duplicate_page_path, Context) -> ?__("There is already a page with this page path.", Context);
reason(duplicate_uri, Context) -> ?__("There is already a page with this URI.", Context);
reason(_, Context) -> ?__("Something went wrong. Please ask the administrator to look in the log.", Context).
